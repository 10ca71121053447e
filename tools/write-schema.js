/** Writes the JSON Schemas that editors complete scenarios and sweeps from. Run by `npm run schema`. */
import { writeFileSync } from 'node:fs';
import { scenarioJsonSchema, sweepJsonSchema } from '../dist/index.js';

const schemas = { scenario: scenarioJsonSchema(), sweep: sweepJsonSchema() };
for (const [name, schema] of Object.entries(schemas)) {
  const target = new URL(`../schema/${name}.schema.json`, import.meta.url);
  writeFileSync(target, `${JSON.stringify(schema, null, 2)}\n`);
}
