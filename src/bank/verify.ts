/** Reading the whole bank, row by row, in one consistent view, and saying what is wrong. */
import { Memory3Error } from '../errors.ts';
import { parseMemory, valueFault } from '../memory/format.ts';
import type { BankProblem } from './bank.ts';
import { contentHash, rowChecksum } from './checksum.ts';
import { vectorFault } from './documents.ts';
import { bankError, withinVerify, withoutRemedy } from './failure.ts';
import { checkIndexFile } from './index-file.ts';
import { type BankState, checkSchema, openForReading, readState } from './open.ts';
import { type CountedTable, columns, countedTables, type Rows } from './schema.ts';
import { Tables, toFloats } from './tables.ts';

/** Each says what would be wrong with the rows that it finds, by key. */
const relations: readonly { readonly where: string; readonly what: string; readonly find: string }[] = [
  {
    where: 'name',
    what: 'its document is missing',
    find: 'SELECT id FROM name WHERE document_id NOT IN (SELECT id FROM document)',
  },
  {
    where: 'document',
    what: 'it has no name',
    find: 'SELECT id FROM document WHERE id NOT IN (SELECT document_id FROM name)',
  },
  {
    where: 'document',
    what: 'it has no text',
    find: 'SELECT id FROM document WHERE id NOT IN (SELECT document_id FROM content)',
  },
  {
    where: 'content',
    what: 'its document is missing',
    find: 'SELECT document_id AS id FROM content WHERE document_id NOT IN (SELECT id FROM document)',
  },
  {
    where: 'reference',
    what: 'its document is missing',
    find: 'SELECT id FROM reference WHERE document_id NOT IN (SELECT id FROM document)',
  },
  {
    where: 'document',
    what: 'its references are not the numbers from 0 to one less than their count',
    find: `SELECT document.id FROM document LEFT JOIN reference ON document_id = document.id
      WHERE reference_count IS NOT NULL GROUP BY document.id
      HAVING count(ordinal) != reference_count OR (reference_count > 0 AND max(ordinal) != reference_count - 1)`,
  },
  {
    where: 'reference',
    what: 'it has no vector',
    find: `SELECT reference.id FROM reference JOIN document ON document.id = document_id
      WHERE reference_count IS NOT NULL AND reference.id NOT IN (SELECT reference_id FROM vector)`,
  },
  {
    where: 'vector',
    what: 'its reference is missing',
    find: 'SELECT reference_id AS id FROM vector WHERE reference_id NOT IN (SELECT id FROM reference)',
  },
  {
    where: 'memory',
    what: 'its reference is missing',
    find: 'SELECT reference_id AS id FROM memory WHERE reference_id NOT IN (SELECT id FROM reference)',
  },
  {
    where: 'words',
    what: 'its reference is missing',
    find: 'SELECT rowid AS id FROM words WHERE rowid NOT IN (SELECT id FROM reference)',
  },
  ...(['document', 'name', 'reference'] as const).map((table) => ({
    where: table,
    what: 'its id is above the highest that was given out',
    find: `SELECT id FROM ${table} WHERE id > (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = '${table}')`,
  })),
];

/** Yields what is wrong with the bank at `path` and its index; nothing if all is well. */
export function* verifyBank(path: string, indexPath: string): IterableIterator<BankProblem> {
  let tables: Tables;
  try {
    tables = new Tables(path, openForReading(path));
  } catch (error) {
    yield problem(path, path, error);
    return;
  }
  try {
    tables.database.exec('BEGIN');
    const state = readState(tables);
    checkSchema(tables, state);
    yield* integrity(tables);
    for (const table of countedTables) yield* rows(tables, state, table);
    for (const { where, what, find } of relations) {
      for (const row of tables.sql(find).all()) yield { where: `${where} ${row.id}`, what };
    }
    const index = checkIndexFile(indexPath, {
      vectorsId: state.vectorsId,
      dimensions: state.identity.embedder.dimensions,
    });
    if (index.state === 'damaged') {
      yield { where: indexPath, what: `${index.what}; it is built again at the next search` };
    }
  } catch (error) {
    yield problem(path, path, error);
  } finally {
    tables.database.close();
  }
}

/** SQLite's own check of pages, B-trees, indexes and of the full-text index against its text. */
function* integrity(tables: Tables): IterableIterator<BankProblem> {
  for (const { integrity_check } of tables.sql('PRAGMA integrity_check').all()) {
    if (integrity_check !== 'ok') yield { where: tables.path, what: String(integrity_check) };
  }
}

/** Every row of a table, and their number and sum. */
function* rows(tables: Tables, state: BankState, table: CountedTable): IterableIterator<BankProblem> {
  const key = columns[table][0];
  let count = 0;
  let checksums = 0;
  for (let last = -1; ; ) {
    const page = tables.raw(table, `WHERE ${key} > ? ORDER BY ${key} LIMIT 16`, last);
    if (page.length === 0) break;
    for (const row of page) {
      count++;
      checksums = (checksums + Number(row.checksum)) % 2 ** 32;
      try {
        const what = fault(tables, state, table, tables.test(table, row));
        if (what !== undefined) yield { where: `${table} ${row[key]}`, what: what + ownerOf(tables, table, row[key]) };
      } catch (error) {
        const { where, what } = problem(tables.path, `${table} ${row[key]}`, error);
        yield { where, what: what + ownerOf(tables, table, row[key]) };
      }
    }
    last = Number(page.at(-1)?.[key]);
  }
  const total = state.totals[table];
  if (count !== total.rows) yield { where: table, what: `it has ${count} rows where ${total.rows} were stored` };
  else if (checksums !== total.checksums) yield { where: table, what: 'its rows are not those that were stored' };
}

/** Of a memory, which document must be removed and added to have it written again. */
function ownerOf(tables: Tables, table: CountedTable, key: unknown): string {
  if (table !== 'memory') return '';
  const find = 'SELECT name FROM name JOIN reference USING (document_id) WHERE reference.id = ? ORDER BY name.id';
  try {
    const names = tables.sql(find).all(Number(key));
    return names.length === 0 ? '' : ` (document ${names.map(({ name }) => name).join(', ')})`;
  } catch {
    // What hides it is damage too, and is named where it is.
    return '';
  }
}

/** What is wrong with a row whose checksum is right. */
function fault<T extends CountedTable>(tables: Tables, state: BankState, table: T, row: Rows[T]): string | undefined {
  switch (table) {
    case 'content':
      return contentFault(tables, row as Rows['content']);
    case 'reference':
      return referenceFault(tables, row as Rows['reference']);
    case 'vector':
      return vectorFault(toFloats((row as Rows['vector']).data), state.identity.embedder.dimensions);
    case 'memory':
      // `parseMemory` throws what is wrong with its form.
      return valueFault(parseMemory((row as Rows['memory']).data));
    default:
      return undefined;
  }
}

function contentFault(tables: Tables, { document_id, text }: Rows['content']): string | undefined {
  const document = tables.get('document', document_id);
  if (document !== undefined && contentHash(text) !== document.content_hash) return 'its sha256 is wrong';
  const moved = tables
    .select('reference', 'WHERE document_id = ?', document_id)
    .find((reference) => text.slice(reference.start, reference.stop) !== reference.text);
  return moved === undefined ? undefined : `reference ${moved.id} is not a part of it`;
}

function referenceFault(tables: Tables, { id, words_checksum }: Rows['reference']): string | undefined {
  const body = tables.sql('SELECT body FROM words WHERE rowid = ?').get(id)?.body;
  if (typeof body !== 'string') return 'its words are missing';
  return rowChecksum('words', [body]) === words_checksum ? undefined : 'its words are not those that were stored';
}

function problem(path: string, where: string, error: unknown): BankProblem {
  const failure = bankError(path, error);
  if (!(failure instanceof Memory3Error)) throw failure;
  // What to do about damage is said once, behind all of it.
  return { where, what: withinVerify(failure) === failure ? failure.message : withoutRemedy(failure) };
}
