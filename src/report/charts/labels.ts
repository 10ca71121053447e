/** A point in the pixels of a plot, from its upper left, with what is to stand beside it; empty: nothing. */
export interface LabelledPoint {
  x: number;
  y: number;
  text: string;
}

/** A text beside its point. */
export interface PlacedLabel extends LabelledPoint {
  /** Which end of the text is at `x`. */
  align: 'left' | 'right';
}

/** Size of a letter of 11 pixels, and half a point with the gap to its label. */
const LETTER = { width: 5.6, height: 13 };
const POINT = 5;
const GAP = 9;

interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/**
 * Labels beside their points, to the side, above or below, where they cover neither points nor each other.
 * @returns those that have a place, and how many have none
 */
export function placeLabels(
  points: readonly LabelledPoint[],
  plot: { width: number; height: number },
): { labels: PlacedLabel[]; left: number } {
  const taken: Box[] = points.map(({ x, y }) => boxAround(x, y));
  const labels: PlacedLabel[] = [];
  let left = 0;
  points.forEach(({ x, y, text }) => {
    if (text === '') return;
    const width = LETTER.width * text.length;
    const places = [-1, 0, 1, -2, 2].flatMap((dy) =>
      (['left', 'right'] as const).map((align) => ({
        x: align === 'left' ? x + GAP : x - GAP,
        y: y + dy * LETTER.height,
        align,
      })),
    );
    const found = places.find((place) => {
      const box = boxOf(place, width);
      const inside = box.left >= 0 && box.right <= plot.width && box.top >= 0 && box.bottom <= plot.height;
      return inside && !taken.some((other) => overlap(box, other));
    });
    if (found === undefined) {
      left++;
      return;
    }
    taken.push(boxOf(found, width));
    labels.push({ ...found, text });
  });
  return { labels, left };
}

function boxAround(x: number, y: number): Box {
  return { left: x - POINT, right: x + POINT, top: y - POINT, bottom: y + POINT };
}

function boxOf({ x, y, align }: { x: number; y: number; align: 'left' | 'right' }, width: number): Box {
  const left = align === 'left' ? x : x - width;
  return { left, right: left + width, top: y - LETTER.height / 2, bottom: y + LETTER.height / 2 };
}

function overlap(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
