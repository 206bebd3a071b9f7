/** What a bank holds, as an evaluation says it: how much of which data set. */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { z } from 'zod';
import type { MemoryBank } from '../../bank/bank.ts';
import { bankExtension } from '../../hub/home.ts';
import { readBankRecord } from './plan.ts';
import { isFrom } from './source.ts';
import { allSources } from './sources.ts';

const natural = z.int().nonnegative();
const named = z.looseObject({ name: z.string() });

const holdingSchema = z.object({
  /** A source's name, or words for all documents from elsewhere. */
  source: z.string(),
  documents: natural,
  references: natural,
  /** Documents that the source has, where only its first ones were wanted; else null. */
  of: natural.nullable(),
});

/** As it stands in an evaluation's config.json; the first runs wrote down no more than numbers. */
export const bankDescriptionSchema = z.looseObject({
  name: z.string().optional(),
  documents: natural,
  references: natural,
  /** SHA-256 over the documents' own, sorted: texts that were changed are another bank, however many they are. */
  contents: z.string().optional(),
  /** A document of two sources counts for both. */
  holds: z.array(holdingSchema).default([]),
  model: named.optional(),
  profile: named.optional(),
});

/** A bank's name, what it holds, and what it was written with. */
export type BankDescription = z.output<typeof bankDescriptionSchema>;

const elsewhere = 'other texts';

/** Reads every document's row. @throws Memory3Error as the bank does; "damaged" for what stands beside it. */
export function describeBank(bank: MemoryBank): BankDescription {
  const counts = new Map<string, { documents: number; references: number }>();
  const hashes: string[] = [];
  for (const { name, aliases, references, contentHash } of bank.documents()) {
    hashes.push(contentHash);
    const sourceOf = (one: string) => allSources.find((source) => isFrom(source, one))?.name ?? elsewhere;
    for (const source of new Set([name, ...aliases].map(sourceOf))) {
      const before = counts.get(source) ?? { documents: 0, references: 0 };
      counts.set(source, { documents: before.documents + 1, references: before.references + references });
    }
  }
  const built = readBankRecord(bank.path)?.finished?.sources ?? [];
  const availableOf = (name: string) => built.find(({ source, limit }) => source === name && limit !== null)?.available;
  const { documents, references, identity } = bank.stats();
  return {
    name: basename(bank.path, bankExtension),
    documents,
    references,
    contents: createHash('sha256').update(hashes.sort().join('\n')).digest('hex'),
    holds: [...counts].map(([source, count]) => ({ source, ...count, of: availableOf(source) ?? null })),
    ...identity,
  };
}

/** "general: 2100 references of 1004 documents (squad 984, cuad 20 of 510), memories of SmolLM2..., ..." */
export function bankWords({ name, documents, references, holds, model, profile }: BankDescription): string {
  const sources = holds.map(
    ({ source, documents: own, of }) => `${source} ${own}${of === null || of <= own ? '' : ` of ${of}`}`,
  );
  const parts = [
    `${name ?? 'without a name'}: ${references} references of ${documents} documents`,
    ...(sources.length === 0 ? [] : [` (${sources.join(', ')})`]),
    ...(model === undefined ? [] : [`, memories of ${model.name}`]),
    ...(profile === undefined ? [] : [`, ${profile.name}`]),
  ];
  return parts.join('');
}
