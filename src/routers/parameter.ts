/** Numbers that are trained, and the gradient that a pass adds up for them. */
export interface Parameter {
  name: string;
  values: Float64Array;
  gradient: Float64Array;
}

export function parameter(name: string, length: number, init: () => number): Parameter {
  return { name, values: Float64Array.from({ length }, init), gradient: new Float64Array(length) };
}

const DECAY = [0.9, 0.95] as const;
const EPSILON = 1e-8;

/** Adam (Kingma and Ba, 2015) with the decays of the lab, 0.9 and 0.95. */
export class Adam {
  private readonly moments: { first: Float64Array; second: Float64Array }[];
  private step = 0;

  constructor(private readonly parameters: readonly Parameter[]) {
    this.moments = parameters.map(({ values }) => ({
      first: new Float64Array(values.length),
      second: new Float64Array(values.length),
    }));
  }

  /** Takes a step against the gradients, and clears them. */
  update(rate: number): void {
    this.step++;
    const [decay1, decay2] = DECAY;
    const correct1 = 1 - decay1 ** this.step;
    const correct2 = 1 - decay2 ** this.step;
    this.parameters.forEach(({ values, gradient }, p) => {
      const { first, second } = this.moments[p];
      for (let i = 0; i < values.length; i++) {
        first[i] = decay1 * first[i] + (1 - decay1) * gradient[i];
        second[i] = decay2 * second[i] + (1 - decay2) * gradient[i] ** 2;
        values[i] -= (rate * (first[i] / correct1)) / (Math.sqrt(second[i] / correct2) + EPSILON);
      }
      gradient.fill(0);
    });
  }
}
