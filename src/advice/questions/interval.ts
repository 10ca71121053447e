import type { PolicyInput } from '../../balancing/index.js';
import type { PolicyResult } from '../../simulation/index.js';
import { figuresOf, speedupText } from '../figures.js';
import { Unanswerable, type Desk, type Question, type Ran, type Variant } from '../question.js';

const TRIED = [10, 30, 100, 300, 1000];
/** Steps of generated routing that are simulated for this. */
const STEPS = 300;
/** Below this many effective steps a p99 says little, and the maximum is shown. */
const ENOUGH_FOR_P99 = 300;

type Movement = 'blocking' | 'async';

interface Setting {
  interval: number;
  movement: Movement;
}

function policyOf({ interval, movement }: Setting): PolicyInput {
  return { kind: 'eplb', movement, history: { kind: 'window', steps: interval, interval } };
}

/** Settings that some steps can show: two plans, and a movement that ends before the next one begins. */
function settingsFor(steps: number, layers: number): Setting[] {
  return TRIED.filter((interval) => 3 * interval <= steps).flatMap((interval) => [
    { interval, movement: 'blocking' as const },
    ...(interval > layers ? [{ interval, movement: 'async' as const }] : []),
  ]);
}

async function run(
  desk: Desk,
  on: (variant: Variant) => Promise<Ran>,
): Promise<Ran & { settings: Setting[] }> {
  const modelLayers = Math.max(desk.shape.moeLayers, desk.layers);
  const set = desk.routing === 'trace' ? {} : { 'workload.steps': STEPS };
  let steps = STEPS;
  if (desk.routing === 'trace') steps = (await on({ policies: () => ['ep'] })).result.routing.steps;
  const settings = settingsFor(steps, modelLayers);
  if (settings.length === 0) {
    throw new Unanswerable(
      `that part of the recording holds ${steps} ${steps === 1 ? 'step' : 'steps'}, and the shortest interval tried, ${TRIED[0]}, needs ${3 * TRIED[0]}; ` +
        'repeating the recording would let plans see what they are scored on',
    );
  }
  const ran = await on({ set, policies: () => ['ep', ...settings.map(policyOf)] });
  return { ...ran, settings };
}

export const interval: Question = {
  name: 'interval',
  asks: 'Which rebalance interval, and what do its stalls do to the p99?',
  async answer(desk) {
    const chosen = await run(desk, desk.choose.bind(desk));
    const seconds = chosen.settings.map((_, i) => chosen.result.policies[i + 1].stepLatency.mean);
    const best = chosen.settings[seconds.indexOf(Math.min(...seconds))];
    const { settings, result, command } = await run(desk, desk.score.bind(desk));
    const at = settings.findIndex(
      ({ interval: steps, movement }) => steps === best.interval && movement === best.movement,
    );
    if (at < 0)
      throw new Unanswerable(`the part to score holds too few steps for ${best.interval}, which was chosen`);
    const own = result.policies[at + 1];
    const [name, tail] = tailOf(own);
    const [, epTail] = tailOf(result.policies[0]);
    const stall = (own.time.critical.move ?? 0) + (own.time.critical.replan ?? 0);
    const whole = desk.scope === 'model';
    const edge = edgeOf(best.interval, settings);
    const worth = own.speedup.low > 1 ? '' : 'None gains beyond doubt; the best is this. ';
    return {
      sentence:
        `${worth}Every ${best.interval} steps, ${best.movement}: ${speedupText(own)} as fast as ep, its ${name} step ${micro(tail)} against ` +
        `${micro(epTail)} of ep; planning and moving stall a ${whole ? 'step' : 'layer'} by ${micro(stall * best.interval)} every time, ${micro(stall)} per step.${edge}` +
        (whole
          ? ''
          : ' Stalls are those of one layer: blocking, a step of the whole model waits for those of all its layers.'),
      rows: settings.map((setting, i) => {
        const policy = result.policies[i + 1];
        const [which, step] = tailOf(policy);
        const { move = 0, replan = 0 } = policy.time.critical;
        return {
          interval: setting.interval,
          movement: setting.movement,
          ...figuresOf(policy),
          tail: which,
          tailSeconds: step,
          stallSecondsPerStep: move + replan,
        };
      }),
      commands: [chosen.command, command],
    };
  },
};

/** What the answer can't know where it is the shortest or the longest that was tried. */
function edgeOf(best: number, settings: readonly Setting[]): string {
  const tried = settings.map(({ interval: steps }) => steps);
  const [least, most] = [Math.min(...tried), Math.max(...tried)];
  if (least === most) return ' It is the only interval that the steps allow: others may be better.';
  if (best === least)
    return ` It is the shortest that was tried, of ${least} to ${most}: a shorter one may be better.`;
  if (best !== most) return '';
  const why = most < TRIED.at(-1)! ? ', as far as the steps allow' : '';
  return ` It is the longest that was tried, of ${least} to ${most}${why}: a longer one may be better.`;
}

function tailOf({ stepLatency }: PolicyResult): [name: 'p99' | 'longest', seconds: number] {
  return stepLatency.effectiveSteps >= ENOUGH_FOR_P99
    ? ['p99', stepLatency.p99]
    : ['longest', stepLatency.max];
}

function micro(seconds: number): string {
  return `${(1e6 * seconds).toFixed(1)} µs`;
}
