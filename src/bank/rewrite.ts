/**
 * Giving a bank another identity: what was computed with the old model, profile or embedder is dropped, the documents
 * stay, and what is missing is computed again by those who have the model.
 */
import type { DatabaseSync } from 'node:sqlite';
import { Memory3Error } from '../errors.ts';
import { realPath } from '../real-path.ts';
import type { BankIdentity } from './bank.ts';
import { named } from './failure.ts';
import { differences, type IdentityPart } from './identity.ts';
import { lockForWriting } from './lock.ts';
import { checkExists, checkSchema, eraseWords, openForWriting, readState, writeState } from './open.ts';
import { type CountedTable, noTotal } from './schema.ts';
import { Tables } from './tables.ts';

export interface Rewrite {
  /** The parts of the identity that changed; none: nothing was done. */
  readonly changed: readonly IdentityPart[];
  /** Rows that were dropped. */
  readonly dropped: { readonly references: number; readonly vectors: number; readonly memories: number };
}

/**
 * Makes the bank one of `identity`, in one transaction; then gives back what the file no longer needs.
 *
 * - another profile: memories are dropped, every reference becomes cold (`coldReferences`);
 * - another embedder: vectors are dropped and every document is pending; memories stay if the rest is the same;
 * - another model: tokens and cuts are other ones, so references, vectors and memories are dropped and every document is
 *   pending.
 *
 * A pending document is completed by `putDocument` with its name and text; until then its references are not found by
 * `searchVectors`. Interrupted after this call, the work goes on with the documents that are still pending.
 * @throws Memory3Error "not-found", "locked", "damaged"
 * @example
 * rewriteBank(path, identity);
 * using bank = openBank(path, { mode: 'write', identity });
 * for (const { id, name, title, mediaType, pending } of bank.documents()) {
 *   const text = bank.documentText(id);
 *   if (pending) bank.putDocument({ name, title, mediaType, text, references: await cutAndEmbed(text) });
 * }
 */
export function rewriteBank(name: string, identity: BankIdentity): Rewrite {
  return named(name, () => {
    const bankPath = realPath(name);
    checkExists(bankPath);
    using lock = lockForWriting(bankPath);
    void lock;
    using cleanUp = new DisposableStack();
    const database = cleanUp.adopt(openForWriting(bankPath, undefined), (open) => open.close());
    const tables = new Tables(bankPath, database);
    database.exec('BEGIN IMMEDIATE');
    try {
      const state = readState(tables);
      checkSchema(tables, state);
      tables.totals = state.totals;
      const changed = differences(state.identity, identity);
      const model = changed.includes('model');
      const embedder = changed.includes('embedder');
      // Most of a large file goes: what is left is copied, and the copy has nothing of the rest, so that nothing need be overwritten.
      const isCopied = model || changed.includes('profile');
      if (isCopied) {
        database.exec('PRAGMA secure_delete = OFF');
        empty(tables, 'memory');
      }
      if (model || embedder) {
        empty(tables, 'vector');
        for (const document of tables.select('document', 'WHERE reference_count IS NOT NULL')) {
          tables.replace('document', { ...document, reference_count: null });
        }
      }
      if (model) {
        empty(tables, 'reference');
        emptyWords(database);
      }
      const { totals } = tables;
      writeState(tables, {
        ...state,
        identity,
        vectorsId: model || embedder ? crypto.randomUUID() : state.vectorsId,
        generation: state.generation + 1,
        totals,
      });
      database.exec('COMMIT');
      const lost = (table: CountedTable) => state.totals[table].rows - totals[table].rows;
      if (isCopied || isMostlyEmpty(database)) database.exec('VACUUM');
      return {
        changed,
        dropped: { references: lost('reference'), vectors: lost('vector'), memories: lost('memory') },
      };
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK');
      throw error;
    }
  });
}

/** What is wrong with a bank while documents wait for their references, and what to do; null if none does. */
export function pendingFault(bankPath: string, pending: number): { what: string; remedy: string } | null {
  if (pending === 0) return null;
  return {
    what: `${pending} documents of ${bankPath} wait for being written again.`,
    remedy: `Run \`memory3 rewrite ${bankPath}\` to the end, with the flags that it was begun with.`,
  };
}

/** @throws Memory3Error "mismatch" while documents wait for their references: the bank is not whole. */
export function checkNonePending(bankPath: string, pending: number): void {
  const fault = pendingFault(bankPath, pending);
  if (fault !== null) throw new Memory3Error('mismatch', fault.what, { remedy: fault.remedy });
}

/** As a rewrite leaves a bank that was killed before it gave the memories' pages back. */
function isMostlyEmpty(database: DatabaseSync): boolean {
  const pages = (which: string) => Number(Object.values(database.prepare(`PRAGMA ${which}`).get() ?? {})[0]);
  return 2 * pages('freelist_count') > pages('page_count');
}

/** Row by row the index would be cleaned of each word; made again of no rows it is empty at once. */
function emptyWords(database: DatabaseSync): void {
  eraseWords(database, false);
  database.exec(`DELETE FROM words; INSERT INTO words (words) VALUES ('rebuild')`);
  eraseWords(database, true);
}

function empty(tables: Tables, table: CountedTable): void {
  tables.database.exec(`DELETE FROM ${table}`);
  tables.totals = { ...tables.totals, [table]: noTotal };
}
