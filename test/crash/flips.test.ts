/**
 * One damaged bit at a time: every byte of the bank's first page, 2 000 seeded others and 500 bytes of the index file.
 *
 * After each flip the bank is opened and everything in it is read: the answers are as before, or an error of the bank's
 * says what is damaged. Where an answer differs without an error, `verify` must name the damage.
 */
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, it } from 'node:test';
import { checkIndexFile } from '../../src/bank/index-file.ts';
import { indexPath, openBank } from '../../src/bank/sqlite.ts';
import { Memory3Error } from '../../src/errors.ts';
import { bytesFrom, dimensions, documentOf, identity, memoryOf, texts, vectorOf } from './library.ts';

const firstPage = 4096;
const otherBytes = 2000;
const indexBytes = 500;

const folder = mkdtempSync(path.join(tmpdir(), 'memory3-flips-'));
after(() => rmSync(folder, { recursive: true }));
const bankPath = path.join(folder, 'bank');

type Outcome = 'harmless' | 'named when read' | 'named by verify' | 'silent';

it('names every flipped bit that changes an answer', (context) => {
  {
    using bank = openBank(bankPath, { mode: 'write', identity });
    for (const [name, text] of Object.entries(texts)) bank.putDocument(documentOf(name, text));
    bank.putDocument({ ...documentOf('alias.txt', texts['tower.txt'] ?? ''), references: [] });
    const memories = [...bank.coldReferences()].slice(2);
    bank.putMemories(memories.map((referenceId) => ({ referenceId, bytes: memoryOf(String(referenceId), 12_000) })));
    bank.removeDocument('bread.txt');
  }
  const expected = answers();
  const random = randomNumbers('flips');
  const size = statSync(bankPath).size;
  const offsets = {
    'first page': Array.from({ length: firstPage }, (_, offset) => offset),
    'other pages': Array.from({ length: otherBytes }, () => firstPage + random(size - firstPage)),
  };
  for (const [where, list] of Object.entries(offsets)) {
    const counts = { harmless: 0, 'named when read': 0, 'named by verify': 0, silent: 0 };
    for (const offset of list) {
      const bit = random(8);
      flipBit(bankPath, offset, bit);
      const outcome = outcomeNow(expected);
      flipBit(bankPath, offset, bit);
      counts[outcome]++;
      assert.notEqual(outcome, 'silent', `byte ${offset}, bit ${bit}`);
    }
    context.diagnostic(`${where}: ${JSON.stringify(counts)}`);
  }
  const owner = { vectorsId: vectorsId(), dimensions };
  const index = indexPath(bankPath);
  assert.equal(answers([]), expected, 'the graph finds the same in so small a bank');
  for (let count = 0; count < indexBytes; count++) {
    flipBit(index, random(statSync(index).size), random(8));
    const notices: string[] = [];
    assert.equal(answers(notices), expected);
    assert.match(notices.join(), /^The index .* is damaged \(.*\); it is built again\.$/);
    assert.equal(checkIndexFile(index, owner).state, 'sound');
  }
});

function outcomeNow(expected: string): Outcome {
  const actual = answersOrError();
  if (actual instanceof Memory3Error) return 'named when read';
  if (actual === expected) return 'harmless';
  using bank = openBank(bankPath, { mode: 'read' });
  return bank.verify().next().done ? 'silent' : 'named by verify';
}

function vectorsId(): string {
  using database = new DatabaseSync(bankPath, { readOnly: true });
  return String(database.prepare('SELECT vectors_id FROM state').get()?.vectors_id);
}

/** Anything but the bank's own error is thrown: an error of SQLite that was not named fails the test. */
function answersOrError(): string | Memory3Error {
  try {
    return answers();
  } catch (error) {
    if (error instanceof Memory3Error) return error;
    throw error;
  }
}

/** Everything that the bank says; with the index file if the index's notices are asked for. */
function answers(notices?: string[]): string {
  const search = notices === undefined ? {} : { exactBelow: 0, onNotice: (notice: string) => notices.push(notice) };
  using bank = openBank(bankPath, { mode: 'read', identity, ...search });
  const said: unknown[] = [bank.stats(), [...bank.coldReferences()]];
  for (const document of bank.documents()) {
    said.push(document, bank.documentText(document.id), bank.document(document.name));
    for (const reference of bank.references(document.id)) {
      said.push(reference, bank.reference(reference.id), [...bank.vector(reference.id)]);
      said.push(Buffer.from(bank.memory(reference.id) ?? []).toString('base64'));
    }
  }
  for (const name of ['alias.txt', 'missing.txt']) said.push(bank.document(name), bank.compare(name, 'new text'));
  for (const query of ['The tower of iron, and the river', '长城在北京', 'spring water floods']) {
    said.push(bank.searchWords(query, 20), bank.searchVectors(vectorOf(query), 20));
  }
  if (notices !== undefined) bank.prepareSearch();
  return JSON.stringify(said);
}

function flipBit(file: string, offset: number, bit: number): void {
  const handle = openSync(file, 'r+');
  const byte = Buffer.alloc(1);
  readSync(handle, byte, 0, 1, offset);
  byte[0] = (byte[0] ?? 0) ^ (1 << bit);
  writeSync(handle, byte, 0, 1, offset);
  closeSync(handle);
}

/** Whole numbers below a limit that follow from a seed. */
function randomNumbers(seed: string): (limit: number) => number {
  let drawn = 0;
  return (limit) => new DataView(bytesFrom(`${seed} ${drawn++}`, 4).buffer).getUint32(0) % limit;
}
