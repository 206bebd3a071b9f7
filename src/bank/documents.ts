/** Storing, replacing and removing documents inside one transaction. */
import { Memory3Error } from '../errors.ts';
import type { NewDocument, NewReference, PutOutcome } from './bank.ts';
import { contentHash, rowChecksum } from './checksum.ts';
import type { Rows } from './schema.ts';
import { type Tables, toBytes, toIntegers } from './tables.ts';
import { wordsOf } from './words.ts';

/** What a name and a content's hash mean for the bank as it is. */
export interface Comparison {
  readonly outcome: PutOutcome;
  readonly named: Rows['name'] | undefined;
  /** The document that holds this content. */
  readonly same: Rows['document'] | undefined;
}

export function compareWith(tables: Tables, name: string, hash: string): Comparison {
  const named = tables.select('name', 'WHERE name = ?', name)[0];
  const same = tables.select('document', 'WHERE content_hash = ?', hash)[0];
  return { outcome: outcomeOf(named, same), named, same };
}

function outcomeOf(named: Rows['name'] | undefined, same: Rows['document'] | undefined): PutOutcome {
  if (same !== undefined) {
    if (same.reference_count === null) return 'replaced';
    return named?.document_id === same.id ? 'unchanged' : 'alias';
  }
  return named === undefined ? 'added' : 'replaced';
}

/** Carries out what `compareWith` found. @returns the document's id. */
export function storeDocument(tables: Tables, document: NewDocument, comparison: Comparison, now: string): number {
  const { named, same, outcome } = comparison;
  // SQLite stores UTF-8: what it cannot hold would come back as another title than the row's checksum covers.
  const title = document.title?.toWellFormed() ?? null;
  if (same !== undefined) {
    if (outcome === 'replaced') {
      const old = tables.select('reference', 'WHERE document_id = ?', same.id);
      putReferences(tables, same.id, document.references, old);
      tables.replace('document', { ...same, reference_count: document.references.length });
    }
    // A title may stand outside of the text. Names that share a content share a title: the first name's.
    if (outcome === 'unchanged' && same.title !== title && namesOf(tables, same.id)[0] === document.name) {
      tables.replace('document', { ...same, title });
    }
    pointName(tables, document.name, same.id, named, now);
    return same.id;
  }
  const text = document.text.toWellFormed();
  const id = tables.insert('document', {
    content_hash: contentHash(text),
    title,
    media_type: document.mediaType,
    characters: text.length,
    reference_count: document.references.length,
    added_at: now,
  });
  tables.insert('content', { document_id: id, text });
  const left = named !== undefined && namesOf(tables, named.document_id).length === 1;
  const old = left ? tables.select('reference', 'WHERE document_id = ?', named.document_id) : [];
  putReferences(tables, id, document.references, old);
  pointName(tables, document.name, id, named, now);
  return id;
}

/** Takes a name away, damaged or not. @returns false if there was none. */
export function removeName(tables: Tables, name: string): boolean {
  const row = tables.sql('SELECT id, document_id FROM name WHERE name = ?').get(name);
  if (row === undefined) return false;
  tables.delete('name', Number(row.id));
  dropIfNameless(tables, Number(row.document_id));
  return true;
}

/** The document's names, the first first. */
export function namesOf(tables: Tables, documentId: number): string[] {
  return tables.select('name', 'WHERE document_id = ? ORDER BY id', documentId).map((row) => row.name);
}

function dropReference(tables: Tables, id: number): void {
  tables.delete('memory', id);
  tables.delete('vector', id);
  tables.delete('reference', id);
  tables.sql('DELETE FROM words WHERE rowid = ?').run(id);
}

/** @throws Memory3Error "usage" for a document that the bank could not give back as it is. */
export function checkDocument(document: NewDocument, dimensions: number): void {
  const fault = (where: string, what: string) =>
    new Memory3Error('usage', `Document ${JSON.stringify(document.name)}${where}: ${what}.`);
  if (document.name === '') throw fault('', 'a name must not be empty');
  if (!document.name.isWellFormed()) throw fault('', 'the name is not valid Unicode');
  if (!document.mediaType.isWellFormed()) throw fault('', 'the media type is not valid Unicode');
  const text = document.text.toWellFormed();
  for (const [ordinal, { text: piece, start, end, tokens, vector }] of document.references.entries()) {
    const where = `, reference ${ordinal}`;
    // `slice` takes places that are none, too: -3, 0.5, one behind the end.
    const isRange = Number.isInteger(start) && start >= 0 && end === start + piece.length;
    if (piece === '' || !isRange || piece.toWellFormed() !== text.slice(start, end)) {
      throw fault(where, `its text is not what stands at [${start}, ${end})`);
    }
    if (tokens.some((token) => !Number.isInteger(token) || token < 0 || token >= 2 ** 32)) {
      throw fault(where, 'its tokens are not token ids');
    }
    const what = vectorFault(vector, dimensions);
    if (what !== undefined) throw fault(where, what);
  }
}

/** What is wrong with a stored vector, if anything. */
export function vectorFault(vector: Float32Array, dimensions: number): string | undefined {
  if (vector.length !== dimensions) return `its vector has ${vector.length} dimensions, not ${dimensions}`;
  const norm = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return Math.abs(norm - 1) <= 1e-3 ? undefined : `its vector has length ${norm}, not 1`;
}

/** Gives the document its references; those of `old` with the same text and tokens are taken over, the others dropped. */
function putReferences(
  tables: Tables,
  documentId: number,
  references: readonly NewReference[],
  old: readonly Rows['reference'][],
): void {
  const reusable = Map.groupBy(old, (row) => referenceKey(row.text, toIntegers(row.tokens)));
  const plan = references.map((reference, ordinal) => ({
    reference,
    place: { document_id: documentId, ordinal, start: reference.start, stop: reference.end },
    from: reusable.get(referenceKey(reference.text.toWellFormed(), reference.tokens))?.shift(),
  }));
  // The rows that move go first out of the way: (document, ordinal) is unique.
  for (const row of old) tables.delete('reference', row.id);
  const taken = new Set<number>();
  for (const { reference, place, from } of plan) {
    if (from === undefined) {
      insertReference(tables, reference, place);
      continue;
    }
    taken.add(from.id);
    tables.insert('reference', { ...from, ...place });
    if (tables.get('vector', from.id) === undefined) {
      tables.insert('vector', { reference_id: from.id, data: toBytes(reference.vector) });
    }
  }
  for (const row of old) if (!taken.has(row.id)) dropReference(tables, row.id);
}

function insertReference(
  tables: Tables,
  reference: NewReference,
  place: Pick<Rows['reference'], 'document_id' | 'ordinal' | 'start' | 'stop'>,
): void {
  const text = reference.text.toWellFormed();
  const body = wordsOf(text).join(' ');
  const id = tables.insert('reference', {
    ...place,
    text,
    tokens: toBytes(Uint32Array.from(reference.tokens)),
    words_checksum: rowChecksum('words', [body]),
  });
  tables.insert('vector', { reference_id: id, data: toBytes(reference.vector) });
  tables.sql('INSERT INTO words (rowid, body) VALUES (?, ?)').run(id, body);
}

function referenceKey(text: string, tokens: readonly number[]): string {
  return `${tokens.join(' ')}\n${text}`;
}

/** Lets `name` mean this document, and drops the one that it meant before if no other name is left. */
function pointName(
  tables: Tables,
  name: string,
  documentId: number,
  named: Rows['name'] | undefined,
  now: string,
): void {
  if (named?.document_id === documentId) return;
  if (named === undefined) {
    tables.insert('name', { name, document_id: documentId, added_at: now });
    return;
  }
  tables.replace('name', { ...named, document_id: documentId });
  dropIfNameless(tables, named.document_id);
}

function dropIfNameless(tables: Tables, documentId: number): void {
  if (tables.sql('SELECT 1 FROM name WHERE document_id = ?').get(documentId) !== undefined) return;
  for (const { id } of tables.sql('SELECT id FROM reference WHERE document_id = ?').all(documentId)) {
    dropReference(tables, Number(id));
  }
  tables.delete('content', documentId);
  tables.delete('document', documentId);
}
