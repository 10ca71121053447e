/** The parts that are used of packages without types of their own. */
declare module 'jstat' {
  const jstat: {
    studentt: {
      /** The p-quantile of Student's t with `dof` degrees of freedom. */
      inv(p: number, dof: number): number;
    };
  };
  export default jstat;
}

/** The generator that is used, without the rest of the package. */
declare module 'seedrandom/lib/alea.js' {
  export default function alea(seed: string): () => number;
}
