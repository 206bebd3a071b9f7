import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { byteLevelMetadata } from '../../../test/support/small-tokenizer.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { seededRandom } from '../../generate/sampling.ts';
import { tokenizerFromGguf } from '../../model/tokenizer-gguf.ts';
import { corruptedExamples, trainClassifier } from './classifier.ts';
import { corrupt } from './corruption.ts';
import { type DocumentOutcome, openCorpus, prepareCorpus } from './pipeline.ts';
import { readDocuments, type TextDocument } from './readers.ts';

const library = fileURLToPath(new URL('../../../assets/library', import.meta.url));
const tokenizer = tokenizerFromGguf(byteLevelMetadata());
const texts = await Array.fromAsync(readDocuments([`${library}/*.txt`, `${library}/[a-z]*.md`]), ({ text }) => text);
/** Paragraphs long enough for the rules. */
const paragraphs: TextDocument[] = texts
  .flatMap((text) => text.split(/\n\s*\n/))
  .filter((text) => text.split(/\s+/).length > 70)
  .map((text, n) => ({ id: `paragraph ${n}`, text }));

let folder: TemporaryFolder;
before(() => {
  folder = temporaryFolder();
});
after(() => folder[Symbol.dispose]());

describe('the data pipeline', () => {
  it('keeps good texts once, packs them, and counts everything that it leaves out', async () => {
    const random = seededRandom(2);
    const good = paragraphs.slice(0, 40);
    const classifier = trainClassifier(corruptedExamples(texts.slice(0, 4)));
    const spoilt = { id: 'spoilt', text: corrupt(paragraphs[41]?.text as string, 'symbols', random) };
    const documents = [
      ...good.slice(0, 20),
      { id: 'short', text: 'Too short.' },
      { id: 'repeated', text: 'buy now '.repeat(200) },
      { id: 'copy', text: `${good[3]?.text} And one word more.` },
      spoilt,
      ...good.slice(20),
    ];
    const outcomes = new Map<string, DocumentOutcome>();
    const path = join(folder.path, 'corpus');
    const options = {
      sequenceLength: 128,
      validation: 0.2,
      quality: { classifier, least: 0.2 },
      onDocument: ({ id }: TextDocument, outcome: DocumentOutcome) => outcomes.set(id, outcome),
    };
    const report = await prepareCorpus(documents, tokenizer, path, options);
    assert.deepEqual(outcomes.get('short'), { kind: 'rules', broken: ['few-words', 'unique-words', 'low-entropy'] });
    assert.deepEqual(outcomes.get('repeated'), { kind: 'rules', broken: ['unique-words', 'low-entropy'] });
    assert.equal(outcomes.get('copy')?.kind, 'duplicate');
    assert.equal(outcomes.get('spoilt')?.kind, 'low-quality');
    assert.equal(report.documents, 44);
    assert.equal(report.removed.rules, 2);
    assert.deepEqual(report.removed.byRule, {
      'few-words': 1,
      'long-words': 0,
      'non-alphabetic': 0,
      'unique-words': 2,
      'low-entropy': 2,
    });
    const ofKind = (kind: string) => documents.filter(({ id }) => outcomes.get(id)?.kind === kind);
    assert.deepEqual([report.removed.duplicates, report.removed.lowQuality], [1, ofKind('low-quality').length]);
    assert.equal(report.alteredByTokenizer, 0);

    // Nothing is lost: what the files hold, and the tails, are the kept documents.
    using corpus = openCorpus(path);
    assert.deepEqual(corpus.report, report);
    let kept = 0;
    for (const part of ['train', 'validation'] as const) {
      const packed = ofKind(part).flatMap(({ text }) => [tokenizer.bosTokenId, ...tokenizer.encode(text)]);
      const { documents: count, tokens, sequences, tailTokens } = report[part];
      assert.ok(sequences > 0 && tailTokens < 128);
      assert.equal(count, ofKind(part).length);
      assert.deepEqual([tokens, sequences * 128 + tailTokens], [packed.length, packed.length]);
      const read = Array.from({ length: corpus[part].count }, (_, n) => [...corpus[part].sequence(n)]).flat();
      assert.deepEqual(read, packed.slice(0, packed.length - tailTokens));
      kept += report[part].characters;
    }
    assert.equal(kept + report.removed.characters, report.characters);
  });

  it('holds the same documents back for validation whatever else there is', async () => {
    const held = async (documents: readonly TextDocument[], name: string) => {
      const ids: string[] = [];
      const onDocument = ({ id }: TextDocument, { kind }: DocumentOutcome) => {
        if (kind === 'validation') ids.push(id);
      };
      const options = { sequenceLength: 64, validation: 0.3, onDocument };
      await prepareCorpus(documents, tokenizer, join(folder.path, name), options);
      return ids;
    };
    const all = await held(paragraphs, 'all');
    assert.ok(
      all.length > paragraphs.length * 0.15 && all.length < paragraphs.length * 0.45,
      `${all.length} held back`,
    );
    const half = paragraphs.filter((_, n) => n % 2 === 0);
    assert.deepEqual(
      await held(half, 'half'),
      all.filter((id) => half.some((document) => document.id === id)),
    );
  });

  it('makes the same files again, without rules and duplicates where asked', async () => {
    const path = join(folder.path, 'again');
    const documents = [paragraphs[0], paragraphs[0], { id: 'short', text: 'Short.' }] as TextDocument[];
    const options = { sequenceLength: 32, validation: 0, rules: null, duplicates: null };
    const { train, validation, removed } = await prepareCorpus(documents, tokenizer, path, options);
    assert.equal(train.documents, 3);
    assert.equal(validation.sequences, 0);
    assert.equal(removed.rules + removed.duplicates + removed.lowQuality, 0);
    const before = readFileSync(join(path, 'train.tokens'));
    await prepareCorpus(documents, tokenizer, path, options);
    assert.deepEqual(readFileSync(join(path, 'train.tokens')), before);
    const some = await prepareCorpus(documents, tokenizer, path, {
      ...options,
      rules: { minWords: 1, minEntropy: 0, maxUniqueWords: 1 },
    });
    assert.equal(some.removed.rules, 0);
  });

  it('leaves the corpus that is there if it fails, and no traces', async () => {
    const path = join(folder.path, 'failing');
    const options = { sequenceLength: 64, validation: 0 };
    await prepareCorpus(paragraphs.slice(0, 3), tokenizer, path, options);
    const before = readdirSync(path).map((name) => [name, readFileSync(join(path, name)).toString('hex')]);
    const failing = function* () {
      yield* paragraphs.slice(3, 6);
      throw new Error('the source broke');
    };
    await assert.rejects(prepareCorpus(failing(), tokenizer, path, options), /the source broke/);
    await assert.rejects(prepareCorpus([{ id: 'x', text: 'Short.' }], tokenizer, path, options), {
      code: 'usage',
      message: /Nothing to train on is left of 1 documents.*"few-words":1/s,
    });
    await assert.rejects(
      prepareCorpus(paragraphs, tokenizer, path, { ...options, signal: AbortSignal.abort(new Error('stop')) }),
      /stop/,
    );
    await assert.rejects(prepareCorpus([], tokenizer, path, { ...options, validation: 1 }), { code: 'usage' });
    const now = readdirSync(path).map((name) => [name, readFileSync(join(path, name)).toString('hex')]);
    assert.deepEqual(now, before);
  });

  it('says what is wrong with a corpus that cannot be opened', async () => {
    const path = join(folder.path, 'opened');
    assert.throws(() => openCorpus(path), { code: 'not-found', message: /no finished corpus/ });
    const report = await prepareCorpus(paragraphs.slice(0, 3), tokenizer, path, { sequenceLength: 64, validation: 0 });
    const changed = { ...report, train: { ...report.train, sequences: 1 } };
    writeFileSync(join(path, 'report.json'), JSON.stringify(changed));
    assert.throws(() => openCorpus(path), { code: 'damaged', message: /do not belong together/ });
    writeFileSync(join(path, 'report.json'), '{}');
    assert.throws(() => openCorpus(path), { code: 'damaged', message: /report\.json/ });
  });
});
