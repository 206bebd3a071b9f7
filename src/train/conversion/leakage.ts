/**
 * Keeps texts out of training that also occur in what is held out: the same passage may stand in two data sets, a policy
 * on two sites, an article in an encyclopedia's dump.
 *
 * A text is looked at in blocks of fifty words that overlap by half; it leaks if of one of them more than a fifth of the runs of
 * eight words occur in a held-out text.
 */

const runLength = 8;
const blockWords = 50;
const tolerated = 0.2;

export interface LeakageGuard {
  /** Whether a text shares too much with what is held out. */
  leaks(text: string): boolean;
}

/** A guard against these held-out texts. */
export function guardAgainst(heldOut: Iterable<string>): LeakageGuard {
  const known = new Set<string>();
  for (const text of heldOut) for (const run of wordRuns(words(text))) known.add(run);
  return {
    leaks(text) {
      const all = words(text);
      // The last block has at least half a block of words, unless the whole text is shorter.
      for (let start = 0; start === 0 || start + blockWords / 2 < all.length; start += blockWords / 2) {
        const runs = wordRuns(all.slice(start, start + blockWords));
        const shared = runs.filter((run) => known.has(run)).length;
        if (shared > runs.length * tolerated) return true;
      }
      return false;
    },
  };
}

function words(text: string): string[] {
  return text.toLowerCase().match(/\p{Script=Han}|[\p{L}\p{N}]+/gu) ?? [];
}

/** A text shorter than a run is one run. */
function wordRuns(all: readonly string[]): string[] {
  if (all.length === 0) return [];
  return Array.from({ length: Math.max(1, all.length - runLength + 1) }, (_, i) =>
    all.slice(i, i + runLength).join(' '),
  );
}
