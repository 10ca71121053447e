/**
 * The value that `k` others are not above, as sorting would put it at `from + k`: Hoare's selection, without the calls of
 * a comparison, which take most of the time on so few numbers. Reorders the part.
 * @param k from 0 to `to − from − 1`
 */
export function kthSmallest(values: Float32Array, from: number, to: number, k: number): number {
  const wanted = from + k;
  let left = from;
  let right = to - 1;
  while (left < right) {
    const pivot = medianOfThree(values[left], values[(left + right) >> 1], values[right]);
    let low = left;
    let high = right;
    while (low <= high) {
      while (values[low] < pivot) low++;
      while (values[high] > pivot) high--;
      if (low > high) break;
      const swapped = values[low];
      values[low++] = values[high];
      values[high--] = swapped;
    }
    if (wanted <= high) right = high;
    else if (wanted >= low) left = low;
    else break;
  }
  return values[wanted];
}

function medianOfThree(a: number, b: number, c: number): number {
  if (a < b) return b < c ? b : a < c ? c : a;
  return a < c ? a : b < c ? c : b;
}
