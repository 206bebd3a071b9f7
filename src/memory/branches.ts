/**
 * Texts that share their beginnings, laid out as one sequence (tree attention).
 *
 *   question ┬ choice A        question | choice A | choice B
 *            └ choice B        0 1 2 3    4 5        4 5        positions
 *
 * Each text stands once. A token sees what its own line of texts holds before it and nothing of its neighbours, and it has the
 * position that it would have in that line alone. So what is computed for it is what would be computed if every line were read
 * by itself, but the shared beginning is read once, and lines of any length stand side by side without padding.
 */

/** A text, and the texts that may stand behind it. */
export interface TextTree {
  readonly tokens: readonly number[];
  readonly branches?: readonly TextTree[];
}

/** Tokens that stand side by side in a sequence. */
export interface Segment {
  /** Place of its first token in the sequence. */
  readonly offset: number;
  /** Position of its first token in its line of texts. */
  readonly depth: number;
  readonly length: number;
  /** What stands before it in its line, from the beginning on. */
  readonly before: readonly Segment[];
}

/** A sequence. */
export interface Layout {
  readonly tokens: readonly number[];
  /** In the order of their tokens: a text before its branches. */
  readonly segments: readonly Segment[];
}

/** One text; tokens behind its end, up to `length`, are padding. */
export function plainLayout(tokens: readonly number[], length = tokens.length): Layout {
  return { tokens, segments: [{ offset: 0, depth: 0, length, before: [] }] };
}

/** Lays out texts with their branches, depth first. */
export function layOut(trees: readonly TextTree[]): Layout {
  const tokens: number[] = [];
  const segments: Segment[] = [];
  const add = (texts: readonly TextTree[], before: readonly Segment[], depth: number): void => {
    for (const { tokens: own, branches = [] } of texts) {
      const segment: Segment = { offset: tokens.length, depth, length: own.length, before };
      tokens.push(...own);
      segments.push(segment);
      add(branches, [...before, segment], depth + own.length);
    }
  };
  add(trees, [], 0);
  return { tokens, segments };
}

/**
 * What a token sees of its own sequence: ranges of places.
 * @param place in the segment
 * @param oldest the first position of its line that it still sees (sliding windows); 0 or less for all
 * @returns `[from, to)` for each range
 */
export function seenBy(segment: Segment, place: number, oldest: number): [from: number, to: number][] {
  const ranges: [number, number][] = [];
  for (const each of [...segment.before, segment]) {
    const from = each.offset + Math.max(0, oldest - each.depth);
    const to = each.offset + (each === segment ? place + 1 : each.length);
    if (from < to) ranges.push([from, to]);
  }
  return ranges;
}
