import type { SloChoice, SloResult } from '../sweep/index.js';
import { plainTable } from './plain-table.js';
import { formatFactor, formatSeconds, formatShare } from './units.js';

/** The largest batch of each policy within the limits, what keeps it from a larger one, and which to use. */
export function sloText(found: SloResult): string {
  const { phase, limit, choices, unused, tried } = found;
  const what = phase === 'decode' ? 'time per output token' : 'time to first token';
  const priced = choices.some(({ best }) => best !== null && best.costPerMillionTokens !== null);
  const head = [
    '',
    'tokens per GPU',
    'p95 step',
    'tokens/s per GPU [90 %]',
    ...(priced ? ['cost per 1M tokens'] : []),
    'KV tokens to spare',
    'loss',
    'what limits it',
  ];
  return [
    `The largest batch with ${what} (p95 of the steps) of at most ${formatSeconds(limit)}, that fits with the worst credible step`,
    '',
    plainTable(
      head,
      choices.map((choice) => row(choice, priced)),
    ),
    '',
    `${tried.length} batches were simulated, from ${tried[0].toLocaleString('en')} to ${tried.at(-1)!.toLocaleString('en')} ` +
      'tokens per GPU; the largest is within 2 %, as long as a larger batch takes no less time.',
    ...(unused === null
      ? []
      : [`The limit on ${unused} does not apply to a ${phase}; run a scenario of the other phase.`]),
    '',
    sentence(found),
  ].join('\n');
}

function row({ policy, anchor, exact, loss, best, because }: SloChoice, priced: boolean): string[] {
  const name = `  ${policy}${anchor || policy === 'balanced' ? ' (anchor)' : ''}`;
  const lost = exact ? '–' : formatShare(loss);
  if (best === null) return [name, 'none', '–', '–', ...(priced ? ['–'] : []), '–', lost, because];
  const { tokensPerGpu, stepP95, tokensPerSecondPerGpu: rate, costPerMillionTokens, spareKvTokens } = best;
  const whole = (value: number) => Math.round(value).toLocaleString('en');
  return [
    name,
    whole(tokensPerGpu),
    formatSeconds(stepP95),
    `${whole(rate.mean)} [${whole(rate.low!)}, ${whole(rate.high!)}]`,
    ...(priced ? [costPerMillionTokens?.toFixed(3) ?? '–'] : []),
    whole(spareKvTokens),
    lost,
    because,
  ];
}

function sentence({ choices, allowedLoss, limit }: SloResult): string {
  const able = choices.filter(
    ({ best, policy, loss }) => best !== null && policy !== 'balanced' && loss <= allowedLoss,
  );
  if (able.length === 0) return `No policy keeps ${formatSeconds(limit)} with even one token per GPU.`;
  const [{ policy, best }] = able;
  const ep = choices.find((choice) => choice.policy === 'ep')?.best;
  const over =
    policy === 'ep' || !ep
      ? ''
      : `, ${formatFactor(best!.tokensPerSecondPerGpu.mean / ep.tokensPerSecondPerGpu.mean)} as many as ep with ` +
        `${ep.tokensPerGpu.toLocaleString('en')}`;
  return (
    `Use ${policy} with ${best!.tokensPerGpu.toLocaleString('en')} tokens per GPU: ` +
    `${Math.round(best!.tokensPerSecondPerGpu.mean).toLocaleString('en')} tokens/s per GPU${over}.`
  );
}
