import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { seededRandom } from '../../generate/sampling.ts';
import { corruptedExamples, sampleTexts, trainClassifier } from './classifier.ts';
import { corrupt, corruptions } from './corruption.ts';
import { readDocuments } from './readers.ts';

const library = fileURLToPath(new URL('../../../assets/library', import.meta.url));
const inputs = [`${library}/*.txt`, `${library}/[a-z]*.md`];
const texts = await Array.fromAsync(readDocuments(inputs), ({ text }) => text);

/** Whole sentences, about 150 words together. */
function passages(text: string): string[] {
  const result: string[] = [];
  for (const sentence of text.split(/(?<=\.)\s+/)) {
    if (result.length > 0 && (result.at(-1) as string).length < 800) result[result.length - 1] += ` ${sentence}`;
    else result.push(sentence);
  }
  return result;
}

describe('the quality classifier', () => {
  it('tells held-out real texts from corrupted ones', (context) => {
    const random = seededRandom(5);
    const right = { good: 0, shuffled: 0, boilerplate: 0, symbols: 0, stuffed: 0 };
    let count = 0;
    for (const fold of [0, 1, 2, 3]) {
      const classifier = trainClassifier(corruptedExamples(texts.filter((_, n) => n % 4 !== fold)));
      for (const passage of texts.filter((_, n) => n % 4 === fold).flatMap(passages)) {
        count++;
        if (classifier.score(passage) > 0.5) right.good++;
        for (const kind of corruptions) if (classifier.score(corrupt(passage, kind, random)) < 0.5) right[kind]++;
      }
    }
    const accuracy = Object.fromEntries(Object.entries(right).map(([kind, number]) => [kind, number / count]));
    context.diagnostic(`held-out accuracy over ${count} passages: ${JSON.stringify(accuracy)}`);
    assert.ok(count > 70);
    const bad = corruptions.reduce((sum, kind) => sum + (accuracy[kind] as number), 0) / corruptions.length;
    const good = accuracy.good as number;
    assert.ok((good + bad) / 2 > 0.9, `balanced accuracy ${(good + bad) / 2}`);
    for (const kind of corruptions) assert.ok((accuracy[kind] as number) > 0.7, `${kind}: ${accuracy[kind]}`);
  });

  it('is the same again for the same examples', () => {
    const examples = () =>
      corruptedExamples(
        texts.slice(0, 2).map((text) => text.slice(0, 3000)),
        4,
      );
    const classifier = trainClassifier(examples());
    const again = trainClassifier(examples());
    for (const text of [...texts, '数', 'a']) {
      assert.equal(again.score(text), classifier.score(text));
    }
    assert.equal(classifier.score(' \n'), 0);
  });

  it('scores a text by all of its passages, whatever its length', () => {
    const [train, held] = [texts.slice(1), texts[0] as string];
    const classifier = trainClassifier(corruptedExamples(train.map((text) => text.slice(0, 5000))));
    const bad = corrupt(held, 'symbols', seededRandom(1));
    const [goodScore, badScore] = [held, bad].map((text) => classifier.score(text)) as [number, number];
    const mixed = classifier.score(`${held}\n${bad}`);
    assert.ok(badScore < mixed && mixed < goodScore, `${badScore} < ${mixed} < ${goodScore}`);
    assert.ok(Math.abs(classifier.score(`${held}\n`.repeat(3)) - goodScore) < 0.1);
  });

  it('is trained by the gradient of its loss: two features that can be told apart are', () => {
    const examples = [
      { text: 'sun moon', good: true },
      { text: 'moon sun', good: false },
    ];
    const classifier = trainClassifier(examples, { passes: 200, penalty: 0 });
    assert.ok(classifier.score(examples[0]?.text as string) > 0.9);
    assert.ok(classifier.score(examples[1]?.text as string) < 0.1);
  });

  it('learns from a sample of many texts, all of them equally likely in it', async () => {
    const stream = Array.from({ length: 10_000 }, (_, i) => `${i} and so on`);
    const drawn = (await sampleTexts(stream, { most: 1000, characters: 5 })).map((text) => Number.parseInt(text, 10));
    assert.equal(new Set(drawn).size, 1000);
    const mean = drawn.reduce((sum, one) => sum + one, 0) / drawn.length;
    assert.ok(Math.abs(mean - 5000) < 400, `the mean of 1000 out of 10 000 is ${mean}`);
    assert.deepEqual(await sampleTexts(stream.slice(0, 2), { characters: 5 }), ['0 and', '1 and']);
  });

  it('refuses what it cannot be trained on', () => {
    assert.throws(() => trainClassifier([{ text: 'good', good: true }]), { code: 'usage', message: /one kind/ });
    assert.throws(() => trainClassifier([], { passes: 0 }), { code: 'usage', message: /passes/ });
  });
});
