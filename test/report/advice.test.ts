/** How advice is printed: notes of a single answer beneath it, those of all answers once. */
import { expect, it } from 'vitest';
import type { Advice } from '../../src/advice/index.js';
import { adviceText } from '../../src/report/index.js';

it('prints notes where they belong', () => {
  const question = (name: string, notes: string[]) => ({
    name,
    asks: `${name}?`,
    notes,
    answer: { sentence: 'Yes.', rows: [{ policy: 'ep', host: 0.125 }], commands: ['epsim run'] },
    because: null,
  });
  const text = adviceText({
    schema: 'epsim/advice@1',
    version: '0',
    scenario: {},
    heldOut: 'a part',
    questions: [question('first', ['of all', 'of one']), question('second', ['of all'])],
  } satisfies Advice);
  expect(text.split('\n').filter((line) => line.includes('* '))).toEqual(['  * of one', '* of all']);
  expect(text).toContain('12.5 %');
});
