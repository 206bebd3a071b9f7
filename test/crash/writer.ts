/**
 * Adds documents and their memories to a bank as `memory3 add` does, without a model: the process that gets killed.
 * Says on stdout, a JSON line each, what has been stored.
 *
 *   node test/crash/writer.ts <bank> <seed>
 */
import { writeSync } from 'node:fs';
import type { NewMemory } from '../../src/bank/bank.ts';
import { openBank } from '../../src/bank/sqlite.ts';
import type { Acknowledgement } from './kill.ts';
import { bytesFrom, documentOf, identity, memoryOf, texts } from './library.ts';

const [bankPath = '', seed = ''] = process.argv.slice(2);
const memoryBytes = 60_000;
const memoriesAtOnce = 4;

using bank = openBank(bankPath, { mode: 'write', identity, exactBelow: 0 });
const sentences = Object.values(texts).flatMap((text) => text.split(/(?<=[.。])/));
for (let number = 0; number < 200; number++) {
  const random = bytesFrom(`${seed} ${number}`, 12);
  const pieces = Array.from(random, (byte, place) => `${sentences[byte % sentences.length]} Number ${byte * place}.`);
  // Every name comes back with other content, so that documents are replaced, too.
  const document = documentOf(`file-${number % 40}.txt`, pieces.slice(0, 3 + (number % 9)).join(' '));
  if (bank.compare(document.name, document.text) === 'unchanged') continue;
  const { documentId } = bank.putDocument(document);
  const references = document.references.length;
  acknowledge({ kind: 'document', name: document.name, documentId, references });
  let batch: NewMemory[] = [];
  const store = () => {
    bank.putMemories(batch);
    acknowledge({ kind: 'memories', referenceIds: batch.map(({ referenceId }) => referenceId) });
    batch = [];
  };
  for (const { id, text } of bank.references(documentId)) {
    batch.push({ referenceId: id, bytes: memoryOf(text, memoryBytes) });
    if (batch.length === memoriesAtOnce) store();
  }
  store();
  if (number % 5 === 0) bank.prepareSearch();
}

function acknowledge(acknowledgement: Acknowledgement): void {
  writeSync(1, `${JSON.stringify(acknowledgement)}\n`);
}
