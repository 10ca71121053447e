/** Dense products of row-major matrices; each adds to what `into` holds. */

/** into[n × m] += a[n × k] · b[k × m] */
export function addProduct(
  a: Float64Array,
  b: Float64Array,
  n: number,
  k: number,
  m: number,
  into: Float64Array,
): void {
  for (let i = 0; i < n; i++) {
    const row = i * m;
    for (let l = 0; l < k; l++) {
      const factor = a[i * k + l];
      if (factor === 0) continue;
      const from = l * m;
      for (let j = 0; j < m; j++) into[row + j] += factor * b[from + j];
    }
  }
}

/** into[k × m] += aᵀ · b, with a[n × k] and b[n × m] */
export function addTransposedProduct(
  a: Float64Array,
  b: Float64Array,
  n: number,
  k: number,
  m: number,
  into: Float64Array,
): void {
  for (let i = 0; i < n; i++) {
    const row = i * m;
    for (let l = 0; l < k; l++) {
      const factor = a[i * k + l];
      if (factor === 0) continue;
      const to = l * m;
      for (let j = 0; j < m; j++) into[to + j] += factor * b[row + j];
    }
  }
}

/** into[n × k] += a · bᵀ, with a[n × m] and b[k × m] */
export function addProductTransposed(
  a: Float64Array,
  b: Float64Array,
  n: number,
  m: number,
  k: number,
  into: Float64Array,
): void {
  for (let i = 0; i < n; i++) {
    const row = i * m;
    for (let l = 0; l < k; l++) {
      const other = l * m;
      let sum = 0;
      for (let j = 0; j < m; j++) sum += a[row + j] * b[other + j];
      into[i * k + l] += sum;
    }
  }
}

/** Softmax of every row of values[n × m], into `into`. */
export function softmaxRows(values: Float64Array, n: number, m: number, into: Float64Array): void {
  for (let i = 0; i < n; i++) {
    const row = i * m;
    let largest = -Infinity;
    for (let j = 0; j < m; j++) largest = Math.max(largest, values[row + j]);
    let sum = 0;
    for (let j = 0; j < m; j++) sum += into[row + j] = Math.exp(values[row + j] - largest);
    for (let j = 0; j < m; j++) into[row + j] /= sum;
  }
}

/** Adds what a gradient by the softmax p[n × m] is by its arguments: p ⊙ (g − ⟨g, p⟩), times `scale`. */
export function addSoftmaxGradient(
  p: Float64Array,
  gradient: Float64Array,
  n: number,
  m: number,
  into: Float64Array,
  scale = 1,
): void {
  for (let i = 0; i < n; i++) {
    const row = i * m;
    let mean = 0;
    for (let j = 0; j < m; j++) mean += gradient[row + j] * p[row + j];
    for (let j = 0; j < m; j++) into[row + j] += scale * p[row + j] * (gradient[row + j] - mean);
  }
}

/** Rows of values[n × m] scaled to length 1, into `into`; returns their lengths. */
export function normaliseRows(values: Float64Array, n: number, m: number, into: Float64Array): Float64Array {
  const lengths = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const row = i * m;
    let square = 0;
    for (let j = 0; j < m; j++) square += values[row + j] ** 2;
    lengths[i] = Math.sqrt(square) || 1;
    for (let j = 0; j < m; j++) into[row + j] = values[row + j] / lengths[i];
  }
  return lengths;
}

/** Adds what a gradient by rows of length 1 is by the rows before scaling: (g − u ⟨g, u⟩) / length. */
export function addNormaliseGradient(
  unit: Float64Array,
  lengths: Float64Array,
  gradient: Float64Array,
  n: number,
  m: number,
  into: Float64Array,
): void {
  for (let i = 0; i < n; i++) {
    const row = i * m;
    let along = 0;
    for (let j = 0; j < m; j++) along += gradient[row + j] * unit[row + j];
    for (let j = 0; j < m; j++) into[row + j] += (gradient[row + j] - along * unit[row + j]) / lengths[i];
  }
}
