import fc from 'fast-check';

/** Properties run with the same seed everywhere, so that a red run can be had again; EPSIM_SEED names another. */
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env.EPSIM_SEED ?? 1) });
