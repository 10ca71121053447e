import type { Scratch } from '../bytes.js';

/** Experts and gate weights of consecutive tokens, [(token · layers + layer) · topK + choice]. */
export interface TokenBlock {
  experts: Uint8Array | Uint16Array;
  /** In the order of `experts`; null where the trace has none. */
  weights: Float32Array | null;
}

/** What all tokens of a trace picked, a block at a time, so that not all of it need be in memory. */
export interface TokenRows {
  /** Tokens of every block; the last may hold fewer. */
  readonly blockTokens: number;
  readonly hasWeights: boolean;
  /** Block of the tokens from index · blockTokens on; good until the next call. */
  block(index: number): TokenBlock;
}

/** All tokens as one block in memory. */
export function rowsInMemory(
  tokens: number,
  experts: Uint8Array | Uint16Array,
  weights: Float32Array | null,
): TokenRows {
  const whole = { experts, weights };
  return { blockTokens: Math.max(1, tokens), hasWeights: weights !== null, block: () => whole };
}

/** Decoded size up to which a trace stays in memory, bytes. */
export const TRACE_MEMORY = 256 * 2 ** 20;
/** Size of a block outside memory, bytes: small, because shuffled tokens need another block each. */
const BLOCK_BYTES = 64 * 2 ** 10;

/** What decoded tokens are collected in. */
export interface TokenRowsOptions {
  /** Decoded size up to which a trace stays in memory, bytes. */
  memory?: number;
  /** Opens room for more than that; without it everything stays in memory. */
  scratch?: () => Scratch;
}

/**
 * Collects tokens as they are decoded, in memory as long as they fit, else in scratch room with a cache of
 * blocks. Scratch layout: block after block of the same size, experts before weights.
 */
export class TokenRowsBuilder {
  private readonly perToken: number;
  private readonly wide: boolean;
  private readonly spill: Spill | null;
  private experts: Uint8Array | Uint16Array;
  private weights: Float32Array | null;
  private filled = 0;

  /**
   * @param tokens of the whole trace
   * @param perToken picks of a token: layers · topK
   * @param expertCount experts of a layer
   */
  constructor(
    private readonly tokens: number,
    perToken: number,
    expertCount: number,
    hasWeights: boolean,
    { memory = TRACE_MEMORY, scratch }: TokenRowsOptions = {},
  ) {
    this.perToken = perToken;
    this.wide = expertCount > 256;
    const tokenBytes = perToken * ((this.wide ? 2 : 1) + (hasWeights ? 4 : 0));
    const spills = scratch !== undefined && tokens * tokenBytes > memory;
    const blockTokens = spills ? Math.max(1, Math.floor(BLOCK_BYTES / tokenBytes)) : tokens;
    this.experts = this.wide
      ? new Uint16Array(blockTokens * perToken)
      : new Uint8Array(blockTokens * perToken);
    this.weights = hasWeights ? new Float32Array(blockTokens * perToken) : null;
    const cached = Math.max(4, Math.floor(memory / 2 / (blockTokens * tokenBytes)));
    this.spill = spills ? new Spill(scratch(), blockTokens, perToken, this.wide, hasWeights, cached) : null;
  }

  /** Sets a pick of the token that is being filled; `at` = layer · topK + choice. */
  pick(at: number, expert: number): void {
    this.experts[this.filled * this.perToken + at] = expert;
  }

  weigh(at: number, weight: number): void {
    this.weights![this.filled * this.perToken + at] = weight;
  }

  /** Ends the token that was being filled. */
  next(): void {
    this.filled++;
    if (this.spill !== null && this.filled === this.spill.blockTokens) this.flush();
  }

  finish(): TokenRows {
    if (this.spill === null) return rowsInMemory(this.tokens, this.experts, this.weights);
    if (this.filled > 0) this.flush();
    return this.spill;
  }

  private flush(): void {
    this.spill!.append({ experts: this.experts, weights: this.weights });
    this.filled = 0;
  }
}

/** Blocks outside memory; the ones used last are cached. */
class Spill implements TokenRows {
  private readonly cache = new Map<number, TokenBlock>();
  private readonly expertBytes: number;
  private readonly blockBytes: number;

  constructor(
    private readonly scratch: Scratch,
    readonly blockTokens: number,
    private readonly perToken: number,
    private readonly wide: boolean,
    readonly hasWeights: boolean,
    private readonly cached: number,
  ) {
    this.expertBytes = blockTokens * perToken * (wide ? 2 : 1);
    this.blockBytes = this.expertBytes + (hasWeights ? blockTokens * perToken * 4 : 0);
  }

  append({ experts, weights }: TokenBlock): void {
    this.scratch.append(bytesOf(experts));
    if (weights) this.scratch.append(bytesOf(weights));
  }

  block(index: number): TokenBlock {
    let block = this.cache.get(index);
    if (block === undefined) {
      block = this.reuse();
      const start = index * this.blockBytes;
      this.scratch.read(start, bytesOf(block.experts));
      if (block.weights) this.scratch.read(start + this.expertBytes, bytesOf(block.weights));
      this.cache.set(index, block);
    }
    return block;
  }

  /** Arrays for one block more: those of the block that came first where the cache is full, else new ones. */
  private reuse(): TokenBlock {
    if (this.cache.size >= this.cached) {
      const [[oldest, block]] = this.cache;
      this.cache.delete(oldest);
      return block;
    }
    const picks = this.blockTokens * this.perToken;
    return {
      experts: this.wide ? new Uint16Array(picks) : new Uint8Array(picks),
      weights: this.hasWeights ? new Float32Array(picks) : null,
    };
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}
