/**
 * Stop strings over streamed text.
 *
 * Text comes in pieces that know nothing of stop strings: one may begin in this piece and end three pieces later, or
 * turn out not to be one. So the longest end of the text that could still become a stop string is held back, and
 * everything before it is passed on at once. The result does not depend on where the pieces were cut: the stop string
 * that is complete first ends the text, exactly before its first character (of those complete at the same character,
 * the longest).
 */
import { z } from 'zod';

export const stopStringsSchema = z.array(z.string().min(1)).readonly();

export class StopStrings {
  readonly #stops: readonly string[];
  #held = '';
  #found: string | null = null;

  /** @param stops strings that end the text; none of them may be empty. */
  constructor(stops: readonly string[]) {
    this.#stops = stopStringsSchema.parse(stops);
  }

  /** The stop string that ended the text, or null while it goes on. */
  get found(): string | null {
    return this.#found;
  }

  /** Takes the next piece; returns the text that is certain by now. After a stop string that is always ''. */
  push(piece: string): string {
    if (this.#found !== null) return '';
    const text = this.#held + piece;
    const match = firstComplete(text, this.#stops);
    if (match !== null) {
      this.#found = match.stop;
      this.#held = '';
      return text.slice(0, match.start);
    }
    const certain = text.length - longestBeginning(text, this.#stops);
    this.#held = text.slice(certain);
    return text.slice(0, certain);
  }

  /** The text is over: returns what was held back. */
  end(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }
}

function firstComplete(text: string, stops: readonly string[]): { start: number; stop: string } | null {
  let best: { start: number; stop: string } | null = null;
  for (const stop of stops) {
    const start = text.indexOf(stop);
    if (start < 0) continue;
    const earlier = best === null ? -1 : start + stop.length - (best.start + best.stop.length);
    if (best === null || earlier < 0 || (earlier === 0 && start < best.start)) best = { start, stop };
  }
  return best;
}

/** Length of the longest end of `text` that is the beginning of a stop string. */
function longestBeginning(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length -= 1) {
      if (text.endsWith(stop.slice(0, length))) longest = length;
    }
  }
  return longest;
}
