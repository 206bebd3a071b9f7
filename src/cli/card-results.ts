/** What was measured of an adapter, from the output of `memory3 bench quality --json`, for its card. */
import { z } from 'zod';
import { readJsonLines } from '../json-lines.ts';
import { type AdapterCard, adapterCardSchema } from '../memory/adapter-card.ts';

type ResultRow = AdapterCard['results'][number];

const cell = adapterCardSchema.shape.results.element.valueType;
/** A value with its 95 % interval; without a bound an end is null. */
const interval = z.strictObject({
  value: z.number().nullable(),
  low: z.number().nullable(),
  high: z.number().nullable(),
});
const rowSchema = z.record(z.string(), z.union([cell, interval])).transform((row): ResultRow => {
  const cells = Object.entries(row).flatMap(([name, given]): [string, ResultRow[string]][] =>
    typeof given === 'object' && given !== null
      ? [
          [name, given.value],
          [`${name}, low`, given.low],
          [`${name}, high`, given.high],
        ]
      : [[name, given]],
  );
  return Object.fromEntries(cells);
});

/**
 * Rows of a card's table; a value with an interval becomes three cells.
 * @param file JSON Lines; undefined gives none
 * @throws Memory3Error "not-found"; "damaged", naming the line
 */
export function readCardResults(file: string | undefined): ResultRow[] {
  return file === undefined ? [] : readJsonLines(file, rowSchema);
}
