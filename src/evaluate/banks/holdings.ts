/** What a bank holds, as an evaluation says it: how much of which data set. */
import { basename } from 'node:path';
import { z } from 'zod';
import type { MemoryBank } from '../../bank/bank.ts';
import { bankExtension } from '../../hub/home.ts';
import { readBankRecord } from './plan.ts';
import { isFrom } from './source.ts';
import { allSources } from './sources.ts';

const natural = z.int().nonnegative();

export const bankDescriptionSchema = z.object({
  name: z.string(),
  documents: natural,
  references: natural,
  /** Whether `eval bank` began it and has not ended yet. */
  unfinished: z.boolean(),
  /** Of a source by its name, or of all documents from elsewhere together; a document of two sources counts for both. */
  holds: z.array(
    z.object({
      source: z.string(),
      documents: natural,
      references: natural,
      /** Documents that the source has, where only its first ones were wanted; else null. */
      of: natural.nullable(),
    }),
  ),
  profile: z.string(),
  model: z.string(),
});

/** A bank's name, what it holds, and what it was written with. */
export type BankDescription = Readonly<z.output<typeof bankDescriptionSchema>>;

/** What documents are called that no source of `sources.ts` has. */
const elsewhere = 'other texts';

/** Reads every document's row. @throws Memory3Error as the bank does; "damaged" for what stands beside it. */
export function describeBank(bank: MemoryBank): BankDescription {
  const counts = new Map<string, { documents: number; references: number }>();
  for (const { name, aliases, references } of bank.documents()) {
    const sources = new Set([name, ...aliases].map((one) => allSources.find((source) => isFrom(source, one))?.name));
    for (const source of sources) {
      const count = counts.get(source ?? elsewhere) ?? { documents: 0, references: 0 };
      const { documents, references: before } = count;
      counts.set(source ?? elsewhere, { documents: documents + 1, references: before + references });
    }
  }
  const { documents, references, identity } = bank.stats();
  const record = readBankRecord(bank.path);
  const built = record?.finished?.sources ?? [];
  const availableOf = (name: string) => built.find(({ source, limit }) => source === name && limit !== null)?.available;
  return {
    name: basename(bank.path, bankExtension),
    documents,
    references,
    unfinished: record !== null && record.finished === null,
    holds: [...counts].map(([source, count]) => ({ source, ...count, of: availableOf(source) ?? null })),
    profile: identity.profile.name,
    model: identity.model.name,
  };
}

/** "Bank general: 2100 references of ...; documents: squad 984, cuad 20 of 510" */
export function bankSentence(bank: BankDescription): string {
  const { name, references, unfinished, holds, profile, model } = bank;
  const sources = holds.map(
    ({ source, documents, of }) => `${source} ${documents}${of === null || of <= documents ? '' : ` of ${of}`}`,
  );
  return `Bank ${name}${unfinished ? ' (unfinished)' : ''}: ${references} references of ${model}, ${profile}; documents: ${sources.join(', ')}`;
}
