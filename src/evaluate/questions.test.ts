import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { byteLevelMetadata } from '../../test/support/small-tokenizer.ts';
import { type TemporaryFolder, temporaryFolder } from '../../test/support/temporary.ts';
import { seededRandom } from '../generate/sampling.ts';
import { tokenizerFromGguf } from '../model/tokenizer-gguf.ts';
import { readQuestions } from './questions.ts';

const tokenizer = tokenizerFromGguf(byteLevelMetadata());
const passage = 'The bridge was built in 1887. It is made of iron and crosses the river near the old mill.';
const contexts = [
  { context_id: 'a', title: 'Bridge', text: passage },
  { context_id: 'b', title: 'Bees', text: 'Bees dance.' },
];
const question = (id: string, answer: string | null) => ({
  id,
  title: 'Bridge',
  context_id: 'a',
  question: `Question ${id}?`,
  answers: answer === null ? [] : [answer, 'other'],
  answer_starts: answer === null ? [] : [passage.indexOf(answer), 0],
});
const lines = (values: readonly object[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('');
const options = { limit: 10, distractors: 0, maxTokens: 60, random: () => 0.5 };

let folder: TemporaryFolder;
before(() => {
  folder = temporaryFolder();
});
after(() => folder[Symbol.dispose]());

describe('questions', () => {
  it('come with the chunk that holds their first answer; cut and unanswerable ones are counted', () => {
    const contextsFile = folder.write('contexts.jsonl.gz', gzipSync(lines(contexts)));
    const questions = [question('1', '1887'), question('2', 'iron'), question('3', null), question('4', '1887. It')];
    const questionsFile = folder.write('questions.jsonl', lines(questions));
    const { items, cut, unanswerable } = readQuestions(contextsFile, questionsFile, tokenizer, options);
    assert.equal(cut, 1);
    assert.equal(unanswerable, 1);
    assert.deepEqual(items.map((item) => item.question).sort(), ['Question 1?', 'Question 2?']);
    for (const { references, answers } of items) {
      assert.equal(references.length, 1);
      assert.ok(references[0]?.text.includes(answers[0]));
      assert.ok((references[0]?.tokens.length ?? 0) <= 60);
    }
  });

  it('get distractors of other passages, each another text, and the same ones for the same seed', () => {
    const more = [
      { context_id: 'c', title: 'Bees', text: 'Bees dance.' },
      { context_id: 'd', title: 'Nothing', text: ' \n ' },
      {
        context_id: 'e',
        title: 'Mill',
        text: `${'The mill is old. '.repeat(3)}Its wheel is new, and it grinds all day.`,
      },
    ];
    const contextsFile = folder.write('contexts.jsonl', lines([...contexts, ...more]));
    const questionsFile = folder.write('questions.jsonl', lines([question('1', '1887'), question('2', 'iron')]));
    const read = (seed: number, distractors: number) =>
      readQuestions(contextsFile, questionsFile, tokenizer, {
        ...options,
        distractors,
        limit: 1,
        random: seededRandom(seed),
      }).items;
    for (let seed = 0; seed < 20; seed++) {
      const [item] = read(seed, 3);
      const texts = item?.references.map(({ text }) => text) ?? [];
      assert.equal(new Set(texts).size, 4);
      assert.deepEqual(
        texts.slice(1).filter((text) => text === 'Bees dance.'),
        ['Bees dance.'],
      );
      assert.deepEqual(read(seed, 3), [item]);
      // One of each passage first.
      assert.ok(read(seed, 2)[0]?.references.some(({ text }) => text === 'Bees dance.'));
    }
    assert.throws(() => read(0, 9), { code: 'usage', message: /has only \d references of other passages, not 9/ });
  });

  it('cannot have distractors where there is one passage', () => {
    const contextsFile = folder.write('one.jsonl', lines(contexts.slice(0, 1)));
    const questionsFile = folder.write('questions.jsonl', lines([question('1', '1887')]));
    const one = { ...options, distractors: 1 };
    assert.throws(() => readQuestions(contextsFile, questionsFile, tokenizer, one), {
      code: 'usage',
      message: /only 0 references of other passages, not 1/,
    });
  });

  it('name the file and the line that is wrong', () => {
    const contextsFile = folder.write('contexts.jsonl', lines(contexts));
    const read = (text: string) => readQuestions(contextsFile, folder.write('wrong.jsonl', text), tokenizer, options);
    assert.throws(() => read(`${lines([question('1', 'iron')])}{`), {
      code: 'damaged',
      message: /wrong\.jsonl, line 2/,
    });
    assert.throws(() => read('{"id": 1}\n'), { code: 'damaged', message: /line 1.*question/s });
    assert.throws(() => read(lines([{ ...question('1', 'iron'), context_id: 'z' }])), /context z/);
    assert.throws(() => read(lines([{ ...question('1', 'iron'), answer_starts: [3] }])), {
      code: 'damaged',
      message: /wrong\.jsonl: the first answer of question 1 does not stand at 3 in context a/,
    });
    assert.throws(() => readQuestions('/no/such', 'x', tokenizer, options), { code: 'not-found' });
  });
});
