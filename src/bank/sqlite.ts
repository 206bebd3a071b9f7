/**
 * The memory bank in one SQLite file.
 *
 * The file is the truth; the nearest-neighbour index beside it is a cache. Reads are transactions on a snapshot, so that a
 * reader never sees half of a writer's transaction; at the start of each one the reader notices that others have written
 * and reads the bank's state again. What each promise rests on stands in docs/durability.md.
 */
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { LRUCache } from 'lru-cache';
import { Memory3Error } from '../errors.ts';
import { holdDatabase } from '../held-files.ts';
import { realPath } from '../real-path.ts';
import type {
  BankIdentity,
  BankProblem,
  BankStats,
  MemoryBank,
  NewDocument,
  NewMemory,
  PutOutcome,
  SearchHit,
  StoredDocument,
  StoredReference,
} from './bank.ts';
import { contentHash } from './checksum.ts';
import { checkDocument, compareWith, namesOf, removeName, storeDocument } from './documents.ts';
import { damaged, isUnwritable, named } from './failure.ts';
import { checkIdentity } from './identity.ts';
import { lockForWriting } from './lock.ts';
import {
  type BankState,
  canWriteBeside,
  checkExists,
  checkSchema,
  logBytes,
  makeFolderOf,
  openForReading,
  openForWriting,
  readState,
  refuseFolder,
  writeState,
} from './open.ts';
import type { Rows } from './schema.ts';
import { Tables, toFloats, toIntegers } from './tables.ts';
import { exactBelow, VectorSearch } from './vector-search.ts';
import { verifyBank } from './verify.ts';
import { quoted, rowBudget, wordQuery } from './words.ts';

export interface OpenBankOptions {
  /** "write" takes the writer's lock for as long as the bank is open, and creates the bank if `identity` is given. */
  readonly mode: 'read' | 'write';
  /** What the bank must have been written with; left out where that does not matter (listing, verifying, exporting). */
  readonly identity?: BankIdentity;
  /** Number of vectors from which on the graph index is used. */
  readonly exactBelow?: number;
  /** Told in one sentence what was repaired: an index that was damaged and is built again. */
  readonly onNotice?: (notice: string) => void;
}

/**
 * Opens the bank at `name`, its path or a link to it.
 * @throws Memory3Error "not-found"; "locked" if another process writes; "mismatch" if it was written with another model,
 * profile or embedder; "damaged"; "disk"
 * @example
 * using bank = openBank('library.memory3', { mode: 'write', identity });
 * bank.putDocument({ name: 'a.txt', title: null, mediaType: 'text/plain', text, references });
 */
export function openBank(name: string, options: OpenBankOptions): MemoryBank {
  return openSqliteBank(name, options);
}

/**
 * What the bank at `name` was written with, whoever writes to it now; null if there is none.
 * @throws Memory3Error like `openBank` for reading
 */
export function readIdentity(name: string): BankIdentity | null {
  try {
    return named(name, () => {
      const bankPath = realPath(name);
      using database = openForReading(bankPath);
      return readState(new Tables(bankPath, database)).identity;
    });
  } catch (error) {
    // The answer to the question: there is no file, or one whose writer was killed before it made a bank of it.
    if (error instanceof Memory3Error && error.code === 'not-found') return null;
    throw error;
  }
}

function openSqliteBank(name: string, options: OpenBankOptions): SqliteBank {
  return named(name, () => {
    const bankPath = realPath(name);
    using cleanUp = new DisposableStack();
    cleanUp.use(holdDatabase(bankPath));
    const writable = options.mode === 'write';
    if (writable) {
      // Before the lock, which would leave a file where no bank is.
      if (options.identity === undefined) checkExists(bankPath);
      else {
        refuseFolder(bankPath);
        makeFolderOf(bankPath);
      }
      cleanUp.use(lockForWriting(bankPath));
    }
    const database = writable ? openForWriting(bankPath, options.identity) : openForReading(bankPath);
    cleanUp.adopt(database, (open) => open.close());
    if (writable) removeLeftovers(bankPath);
    const tables = new Tables(bankPath, database);
    const state = readState(tables);
    checkSchema(tables, state);
    if (options.identity !== undefined) checkIdentity(bankPath, state.identity, options.identity);
    return new SqliteBank(tables, state, options, cleanUp.move());
  });
}

class SqliteBank implements MemoryBank {
  readonly path: string;
  readonly writable: boolean;
  readonly #tables: Tables;
  #state: BankState;
  readonly #vectors: VectorSearch;
  /** How many references a word is in, up to `rowBudget`; of the state's generation. */
  readonly #wordRows = new LRUCache<string, number>({ max: 20_000 });
  #wordRowsGeneration = 0;
  #dataVersion: unknown;
  readonly #resources: Disposable;

  constructor(tables: Tables, state: BankState, options: OpenBankOptions, resources: Disposable) {
    this.path = tables.path;
    this.writable = options.mode === 'write';
    this.#tables = tables;
    this.#state = state;
    this.#resources = resources;
    this.#vectors = new VectorSearch({
      path: indexPath(this.path),
      vectorsId: state.vectorsId,
      dimensions: state.identity.embedder.dimensions,
      exactBelow: options.exactBelow ?? exactBelow,
      canSave: canWriteBeside(this.path),
      onNotice: options.onNotice ?? (() => {}),
    });
  }

  get identity(): BankIdentity {
    return this.#state.identity;
  }

  [Symbol.dispose](): void {
    named(this.path, () => this.#resources[Symbol.dispose]());
  }

  document(name: string): StoredDocument | undefined {
    return this.#read(() => {
      const row = this.#tables.select('name', 'WHERE name = ?', name)[0];
      return row === undefined ? undefined : this.#stored(this.#documentRow(row.document_id));
    });
  }

  *documents(): IterableIterator<StoredDocument> {
    for (let last = 0; ; ) {
      const page = this.#read(() =>
        this.#tables
          .select('document', 'WHERE id > ? ORDER BY id LIMIT 64', last)
          .map((document) => this.#stored(document)),
      );
      if (page.length === 0) return;
      yield* page;
      last = page.at(-1)?.id ?? last;
    }
  }

  documentText(id: number): string {
    return this.#read(() => {
      const { content_hash } = this.#documentRow(id);
      const text = this.#tables.get('content', id)?.text;
      if (text === undefined || contentHash(text) !== content_hash) {
        throw damaged(this.path, `the text of document ${id} is not what was stored`);
      }
      return text;
    });
  }

  compare(name: string, text: string): PutOutcome {
    return this.#read(() => compareWith(this.#tables, name, contentHash(text.toWellFormed())).outcome);
  }

  putDocument(document: NewDocument): { readonly outcome: PutOutcome; readonly documentId: number } {
    checkDocument(document, this.identity.embedder.dimensions);
    const hash = contentHash(document.text.toWellFormed());
    return this.#write(() => {
      const comparison = compareWith(this.#tables, document.name, hash);
      const documentId = storeDocument(this.#tables, document, comparison, new Date().toISOString());
      return { outcome: comparison.outcome, documentId };
    });
  }

  removeDocument(name: string): boolean {
    return this.#write(() => removeName(this.#tables, name));
  }

  references(documentId: number): StoredReference[] {
    return this.#read(() => {
      const document = this.#documentRow(documentId);
      const documentName = this.#firstName(documentId);
      const rows = this.#tables.select('reference', 'WHERE document_id = ? ORDER BY ordinal', documentId);
      if (document.reference_count !== null && document.reference_count !== rows.length) {
        throw damaged(this.path, `document ${documentId} has ${rows.length} of ${document.reference_count} references`);
      }
      return rows.map((row) => storedReference(row, documentName, document));
    });
  }

  reference(id: number): StoredReference {
    return this.#read(() => {
      const row = this.#tables.get('reference', id);
      if (row === undefined) throw this.#noReference(id);
      return storedReference(row, this.#firstName(row.document_id), this.#documentRow(row.document_id));
    });
  }

  vector(referenceId: number): Float32Array {
    return this.#read(() => this.#vector(referenceId));
  }

  memory(referenceId: number): Uint8Array | undefined {
    return this.#read(() => {
      const row = this.#tables.get('memory', referenceId);
      if (row === undefined && !this.#hasReference(referenceId)) throw this.#noReference(referenceId);
      return row?.data;
    });
  }

  putMemories(memories: readonly NewMemory[]): void {
    this.#write(() => {
      for (const { referenceId, bytes } of memories) {
        if (!this.#hasReference(referenceId)) throw this.#noReference(referenceId);
        this.#tables.replace('memory', { reference_id: referenceId, data: bytes });
      }
    });
  }

  tryPutMemories(memories: readonly NewMemory[]): boolean {
    try {
      if (this.writable) {
        this.#putMissing(memories);
        return true;
      }
      if (!existsSync(this.path) || !canWriteBeside(this.path)) return false;
      // Without an identity: a bank that somebody deleted must not be created again.
      using writer = openSqliteBank(this.path, { mode: 'write' });
      // Another bank of the same name has other references under the same ids.
      if (writer.#state.vectorsId !== this.#state.vectorsId) return false;
      checkIdentity(this.path, writer.identity, this.identity);
      return writer.tryPutMemories(memories);
    } catch (error) {
      if (isUnwritable(error)) return false;
      throw error;
    }
  }

  *coldReferences(): IterableIterator<number> {
    for (let last = 0; ; ) {
      const page = this.#read(() =>
        this.#tables
          .sql(
            `SELECT id FROM reference WHERE id > ?
             AND NOT EXISTS (SELECT 1 FROM memory WHERE reference_id = reference.id) ORDER BY id LIMIT 256`,
          )
          .all(last)
          .map((row) => Number(row.id)),
      );
      if (page.length === 0) return;
      yield* page;
      last = page.at(-1) ?? last;
    }
  }

  searchVectors(query: Float32Array, count: number): SearchHit[] {
    const { dimensions } = this.identity.embedder;
    const length = Math.sqrt(dot(query, query));
    if (query.length !== dimensions || !(length > 0) || !Number.isFinite(length)) {
      throw new Memory3Error('usage', `A query vector needs ${dimensions} finite numbers, not all zero.`);
    }
    checkCount(count);
    return this.#read(() =>
      this.#index()
        .search(query, count)
        .map((referenceId) => ({ referenceId, score: dot(query, this.#vector(referenceId)) / length }))
        .sort(bestFirst)
        .slice(0, count),
    );
  }

  searchWords(query: string, count: number): SearchHit[] {
    checkCount(count);
    return this.#read(() => {
      const expression = wordQuery(query, this.#state.totals.reference.rows, (word) => this.#rowsWith(word));
      if (expression === undefined) return [];
      return this.#tables
        .sql('SELECT rowid AS id, rank FROM words WHERE words MATCH ? ORDER BY rank, rowid LIMIT ?')
        .all(expression, count)
        .map((row) => ({ referenceId: Number(row.id), score: -Number(row.rank) }));
    });
  }

  snapshot<T>(work: () => T): T {
    return this.#read(work);
  }

  prepareSearch(): void {
    this.#read(() => {
      this.#index();
      this.#vectors.save();
    });
  }

  stats(): BankStats {
    return this.#read(() => {
      const { document, reference, memory } = this.#state.totals;
      const pending = this.#tables.sql('SELECT count(*) AS n FROM document WHERE reference_count IS NULL').get();
      return {
        documents: document.rows,
        pending: Number(pending?.n),
        references: reference.rows,
        memories: memory.rows,
        memoryBytes: memory.bytes,
        fileBytes: (statSync(this.path, { throwIfNoEntry: false })?.size ?? 0) + logBytes(this.path),
        identity: this.identity,
      };
    });
  }

  *verify(): IterableIterator<BankProblem> {
    yield* verifyBank(this.path, indexPath(this.path));
  }

  /** One transaction on a snapshot; within another one, a part of it. */
  #read<T>(work: () => T): T {
    return named(this.path, () => {
      const { database } = this.#tables;
      if (database.isTransaction) return work();
      this.#tables.sql('BEGIN').run();
      try {
        this.#noticeOthers();
        return work();
      } finally {
        if (database.isTransaction) this.#tables.sql('COMMIT').run();
      }
    });
  }

  /** One transaction: all of `work` or nothing of it; durable when this returns. */
  #write<T>(work: () => T): T {
    if (!this.writable) throw new Memory3Error('usage', `The bank ${this.path} is open for reading only.`);
    return named(this.path, () => {
      const { database } = this.#tables;
      this.#tables.sql('BEGIN IMMEDIATE').run();
      try {
        // The lock keeps others from writing, but it is a file that somebody can delete: totals never come from memory.
        this.#noticeOthers();
        const before = this.#state;
        this.#tables.totals = before.totals;
        const result = work();
        const { totals } = this.#tables;
        if (totals !== before.totals) {
          const generation = before.generation + (totals.vector === before.totals.vector ? 0 : 1);
          const after = { ...before, totals, generation };
          writeState(this.#tables, after);
          this.#tables.sql('COMMIT').run();
          this.#state = after;
        } else this.#tables.sql('ROLLBACK').run();
        return result;
      } catch (error) {
        if (database.isTransaction) this.#tables.sql('ROLLBACK').run();
        throw error;
      }
    });
  }

  /** Reads the state again if another process has written since the last transaction. */
  #noticeOthers(): void {
    const version = this.#tables.sql('PRAGMA data_version').get()?.data_version;
    if (version === this.#dataVersion) return;
    const state = readState(this.#tables);
    if (state.vectorsId !== this.#state.vectorsId) {
      throw new Memory3Error('mismatch', `The bank ${this.path} was rewritten since it was opened.`, {
        remedy: 'Open it again.',
      });
    }
    checkIdentity(this.path, state.identity, this.#state.identity);
    this.#state = state;
    this.#dataVersion = version;
  }

  #putMissing(memories: readonly NewMemory[]): void {
    this.#write(() => {
      for (const { referenceId, bytes } of memories) {
        const cold = this.#tables.sql('SELECT 1 FROM memory WHERE reference_id = ?').get(referenceId) === undefined;
        if (cold && this.#hasReference(referenceId)) {
          this.#tables.insert('memory', { reference_id: referenceId, data: bytes });
        }
      }
    });
  }

  #index() {
    return this.#vectors.at(
      this.#state.generation,
      () => this.#vectorIds(),
      (id) => this.#vector(id),
    );
  }

  #vectorIds(): number[] {
    const ids = this.#tables
      .sql('SELECT reference_id AS id FROM vector INDEXED BY vector_ids ORDER BY reference_id')
      .all()
      .map((row) => Number(row.id));
    const { rows } = this.#state.totals.vector;
    if (ids.length !== rows) throw damaged(this.path, `${ids.length} vectors were found where ${rows} were stored`);
    return ids;
  }

  #vector(referenceId: number): Float32Array {
    const row = this.#tables.get('vector', referenceId);
    if (row === undefined) throw this.#noReference(referenceId);
    return toFloats(row.data);
  }

  /** Counts no further than a query may go, which is 0.2 ms for the most common word. */
  #rowsWith(word: string): number {
    if (this.#wordRowsGeneration !== this.#state.generation) this.#wordRows.clear();
    this.#wordRowsGeneration = this.#state.generation;
    const known = this.#wordRows.get(word);
    if (known !== undefined) return known;
    const row = this.#tables
      .sql('SELECT count(*) AS n FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)')
      .get(quoted(word), rowBudget + 1);
    const rows = Number(row?.n);
    this.#wordRows.set(word, rows);
    return rows;
  }

  #stored(document: Rows['document']): StoredDocument {
    const [name, ...aliases] = namesOf(this.#tables, document.id);
    if (name === undefined) throw damaged(this.path, `document ${document.id} has no name`);
    const counts = this.#tables
      .sql(
        `SELECT count(*) AS found, count(memory.reference_id) AS memories FROM reference
         LEFT JOIN memory ON memory.reference_id = reference.id WHERE document_id = ?`,
      )
      .get(document.id);
    return {
      id: document.id,
      name,
      aliases,
      title: document.title,
      mediaType: document.media_type,
      contentHash: document.content_hash,
      characters: document.characters,
      references: document.reference_count ?? Number(counts?.found),
      memories: Number(counts?.memories),
      pending: document.reference_count === null,
      addedAt: document.added_at,
    };
  }

  #documentRow(id: number): Rows['document'] {
    const row = this.#tables.get('document', id);
    if (row === undefined) throw new Memory3Error('not-found', `The bank ${this.path} has no document ${id}.`);
    return row;
  }

  #firstName(documentId: number): string {
    const row = this.#tables.select('name', 'WHERE document_id = ? ORDER BY id LIMIT 1', documentId)[0];
    if (row === undefined) throw damaged(this.path, `document ${documentId} has no name`);
    return row.name;
  }

  #hasReference(id: number): boolean {
    return this.#tables.sql('SELECT 1 FROM reference WHERE id = ?').get(id) !== undefined;
  }

  #noReference(id: number): Memory3Error {
    return new Memory3Error('not-found', `The bank ${this.path} has no reference ${id}.`);
  }
}

/** Where the nearest-neighbour index of a bank lies. */
export function indexPath(bankPath: string): string {
  return `${bankPath}.index`;
}

function storedReference(row: Rows['reference'], documentName: string, document: Rows['document']): StoredReference {
  return {
    id: row.id,
    documentId: row.document_id,
    documentName,
    documentTitle: document.title,
    ordinal: row.ordinal,
    text: row.text,
    start: row.start,
    end: row.stop,
    tokens: toIntegers(row.tokens),
  };
}

/** Unfinished index files of processes that were killed; a living one needs no ten minutes for its own. */
function removeLeftovers(bankPath: string): void {
  const folder = path.dirname(path.resolve(bankPath));
  const start = path.basename(indexPath(bankPath));
  for (const name of readdirSync(folder)) {
    if (!name.startsWith(`${start}.`) || !name.endsWith('.tmp')) continue;
    const leftover = path.join(folder, name);
    const modified = statSync(leftover, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (Date.now() - modified > 600_000) rmSync(leftover, { force: true });
  }
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
}

function bestFirst(a: SearchHit, b: SearchHit): number {
  return b.score - a.score || a.referenceId - b.referenceId;
}

function checkCount(count: number): void {
  if (!Number.isInteger(count) || count < 1) throw new Memory3Error('usage', `Cannot search for ${count} references.`);
}
