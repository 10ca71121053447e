import { describe, expect, it } from 'vitest';
import { figureHtml } from '../../src/report/index.js';
import { fromAddress } from '../../src/web/index.js';
import { pictureHtml, picturesOf, simulateSettings } from '../../src/web/simulate-settings.js';

/** Settings as somebody drags them: other values, other GPUs, other policies, and back. */
const DRAGGED = ['', 'alpha=1.5', 'amount=0.2', 'gpus=4', 'policies=eplb', 'alpha=2', 'skew=zipf', ''];

/**
 * What a picture is made of, in any order: ticks that a chart had before stand first among those that it has now. Vega
 * numbers what clips a plot, over all pictures of a page.
 */
const partsOf = (html: string) =>
  html
    .replace(/clip\d+/g, 'clip')
    .split(/(?=<)/)
    .sort();

const simulated = (address: string) => simulateSettings(fromAddress(address), null, 'test');

describe('pictures of the playground', () => {
  it('are what a report draws, whatever was drawn before', async () => {
    for (const address of DRAGGED) {
      for (const picture of picturesOf(simulated(address))) {
        const kept = partsOf(await pictureHtml(picture));
        const fresh = partsOf(await figureHtml(picture, 40));
        const differs = fresh.findIndex((part, i) => part !== kept[i]);
        expect([fresh[differs], kept.length], `${picture.id} of "${address}"`).toEqual([
          undefined,
          fresh.length,
        ]);
      }
    }
  });

  it('stand for the same numbers, whatever was simulated before', () => {
    const first = simulated('').result;
    for (const address of DRAGGED) simulated(address);
    expect(simulated('').result).toEqual(first);
  });
});
