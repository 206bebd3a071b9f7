/**
 * The bank's SQLite schema, version 1, and its checked rows. docs/memory-format.md describes the file for other programs.
 *
 * document 1-n name        names that share one content
 * document 1-1 content     the text, whose sha256 is the document's identity
 * document 1-n reference   pieces that fit one explicit memory
 * reference 1-1 vector     its embedding, float32 little-endian
 * reference 1-0..1 memory  its explicit memory's bytes; none while it is cold
 * words                    full-text index: the references' words, separated by spaces
 * state                    one row: identity, counters, and for each table the number of rows and the sum of checksums
 */

/** In the header of every bank file: "Mem3". */
export const applicationId = 0x4d656d33;
export const schemaVersion = 1;

/** Columns of each checked table in the order that its checksum covers; the first is the row's integer key. */
export const columns = {
  document: ['id', 'content_hash', 'title', 'media_type', 'characters', 'reference_count', 'added_at'],
  content: ['document_id', 'text'],
  name: ['id', 'name', 'document_id', 'added_at'],
  reference: ['id', 'document_id', 'ordinal', 'start', 'stop', 'text', 'tokens', 'words_checksum'],
  vector: ['reference_id', 'data'],
  memory: ['reference_id', 'data'],
  state: ['id', 'schema_hash', 'identity', 'vectors_id', 'generation', 'totals'],
} as const;

export type TableName = keyof typeof columns;
/** The tables whose rows are counted in `state.totals`. */
export const countedTables = ['document', 'content', 'name', 'reference', 'vector', 'memory'] as const;
export type CountedTable = (typeof countedTables)[number];

export interface Rows {
  readonly document: {
    readonly id: number;
    readonly content_hash: string;
    readonly title: string | null;
    readonly media_type: string;
    /** UTF-16 code units of the text. */
    readonly characters: number;
    /** null while the document waits for its references (after a rewrite). */
    readonly reference_count: number | null;
    readonly added_at: string;
  };
  readonly content: { readonly document_id: number; readonly text: string };
  readonly name: {
    readonly id: number;
    readonly name: string;
    readonly document_id: number;
    readonly added_at: string;
  };
  readonly reference: {
    readonly id: number;
    readonly document_id: number;
    readonly ordinal: number;
    readonly start: number;
    readonly stop: number;
    readonly text: string;
    /** Uint32 little-endian. */
    readonly tokens: Uint8Array;
    /** Checksum of the row of `words`. */
    readonly words_checksum: number;
  };
  readonly vector: { readonly reference_id: number; readonly data: Uint8Array };
  readonly memory: { readonly reference_id: number; readonly data: Uint8Array };
  readonly state: {
    readonly id: number;
    /** sha256 over the schema as SQLite kept it when the bank was created. */
    readonly schema_hash: string;
    /** BankIdentity as JSON. */
    readonly identity: string;
    /** Random; another one whenever all vectors are dropped, so that no older index can be taken for a current one. */
    readonly vectors_id: string;
    /** Grows with every change of the set of vectors. */
    readonly generation: number;
    /** Totals as JSON. */
    readonly totals: string;
  };
}

/** What a table must hold: catches rows that a damaged page hides, which no row's own checksum can. */
export interface TableTotal {
  readonly rows: number;
  /** Sum of the rows' checksums modulo 2^32. */
  readonly checksums: number;
  /** Bytes in the rows' blobs. */
  readonly bytes: number;
}
export type Totals = Readonly<Record<CountedTable, TableTotal>>;

export const noTotal: TableTotal = { rows: 0, checksums: 0, bytes: 0 };
export const noTotals: Totals = {
  document: noTotal,
  content: noTotal,
  name: noTotal,
  reference: noTotal,
  vector: noTotal,
  memory: noTotal,
};

/** AUTOINCREMENT: an id is never used twice, so what is cached under an id of a removed reference cannot come back. */
export const createTables = `
CREATE TABLE document (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  content_hash TEXT NOT NULL UNIQUE,
  title TEXT,
  media_type TEXT NOT NULL,
  characters INTEGER NOT NULL,
  reference_count INTEGER,
  added_at TEXT NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE content (
  document_id INTEGER PRIMARY KEY,
  text TEXT NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE name (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  document_id INTEGER NOT NULL,
  added_at TEXT NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;
CREATE INDEX name_document ON name (document_id);
CREATE TABLE reference (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  document_id INTEGER NOT NULL,
  ordinal INTEGER NOT NULL,
  start INTEGER NOT NULL,
  stop INTEGER NOT NULL,
  text TEXT NOT NULL,
  tokens BLOB NOT NULL,
  words_checksum INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  UNIQUE (document_id, ordinal)
) STRICT;
CREATE TABLE vector (
  reference_id INTEGER PRIMARY KEY,
  data BLOB NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;
CREATE INDEX vector_ids ON vector (reference_id);
CREATE TABLE memory (
  reference_id INTEGER PRIMARY KEY,
  data BLOB NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE state (
  id INTEGER PRIMARY KEY,
  schema_hash TEXT NOT NULL,
  identity TEXT NOT NULL,
  vectors_id TEXT NOT NULL,
  generation INTEGER NOT NULL,
  totals TEXT NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;
CREATE VIRTUAL TABLE words USING fts5 (body, tokenize = 'unicode61 remove_diacritics 2');
`;
