/** Writes schema/scenario.schema.json, from which editors complete scenarios. Run by `npm run schema`. */
import { writeFileSync } from 'node:fs';
import { scenarioJsonSchema } from '../dist/index.js';

const target = new URL('../schema/scenario.schema.json', import.meta.url);
writeFileSync(target, `${JSON.stringify(scenarioJsonSchema(), null, 2)}\n`);
