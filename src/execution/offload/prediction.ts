import type { LayerBatch, Random } from '../../routing/index.js';

/**
 * What a gate of a coming layer would say if it were asked now: choices of the routing itself, each right with a given
 * probability, which falls with the distance; a wrong one is any expert that the token does not choose. All strategies
 * of a run get the same predictions.
 */
export class Prediction {
  /** Predicted expert of every choice, by layers ahead (from 1 on) and layer. */
  private readonly guesses: Uint16Array[][];

  /**
   * @param ahead most layers ahead that anybody looks at
   * @param accuracy by layers ahead, from 1 on; the last one holds beyond
   */
  constructor(
    private readonly experts: number,
    private readonly ahead: number,
    private readonly accuracy: readonly number[],
  ) {
    this.guesses = Array.from({ length: ahead }, () => []);
  }

  /** Guesses all layers of a step. */
  take(layers: readonly LayerBatch[], random: Random): void {
    for (let distance = 1; distance <= this.ahead; distance++) {
      const accuracy = this.accuracy[Math.min(distance, this.accuracy.length) - 1];
      layers.forEach(({ tokens }, layer) => {
        const { experts, topK } = tokens!;
        const copies = tokens!.count * topK;
        const own = this.guesses[distance - 1];
        if ((own[layer] ?? []).length !== copies) own[layer] = new Uint16Array(copies);
        for (let copy = 0; copy < copies; copy++) {
          own[layer][copy] =
            random() < accuracy ? experts[copy] : this.wrong(experts, copy - (copy % topK), topK, random);
        }
      });
    }
  }

  /** Predicted expert of every choice of a layer, seen from so many layers before it. */
  of(layer: number, distance: number): Uint16Array {
    return this.guesses[distance - 1][layer];
  }

  private wrong(chosen: Uint16Array, first: number, topK: number, random: Random): number {
    const others = this.experts - topK;
    if (others === 0) return chosen[first];
    let left = Math.floor(random() * others);
    for (let expert = 0; ; expert++) {
      let isChosen = false;
      for (let j = first; j < first + topK; j++) isChosen ||= chosen[j] === expert;
      if (!isChosen && left-- === 0) return expert;
    }
  }
}
