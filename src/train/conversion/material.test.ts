import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  article,
  conversionData,
  forest,
  heldArticle,
  heldSite,
  lines,
} from '../../../test/support/conversion-data.ts';
import { byteLevelMetadata } from '../../../test/support/small-tokenizer.ts';
import type { TemporaryFolder } from '../../../test/support/temporary.ts';
import { tokenizerFromGguf } from '../../model/tokenizer-gguf.ts';
import { readExamples } from './examples.ts';
import heldOut from './held-out.json' with { type: 'json' };
import { isHeldOut } from './held-out.ts';
import { guardAgainst } from './leakage.ts';
import { type MaterialOptions, readMaterial } from './material.ts';
import { readQuestionSet } from './question-sets.ts';

const tokenizer = tokenizerFromGguf(byteLevelMetadata());
let folder: TemporaryFolder;
before(() => {
  folder = conversionData();
});
after(() => folder[Symbol.dispose]());

const options: MaterialOptions = { tokenizer, maxTokens: 60, contextTokens: 80, split: 'training' };

describe('what is held out', () => {
  it('is whole articles in every edition of SQuAD, whole sites, and a fifth of the open questions', () => {
    for (const set of ['squad-v1.1', 'squad-v2.0', 'xquad-en', 'xquad-zh']) {
      assert.equal(isHeldOut({ set, title: heldArticle, question: 'a' }), true);
      assert.equal(isHeldOut({ set, title: 'Bridge', question: 'a' }), false);
    }
    assert.equal(isHeldOut({ set: 'policyqa', title: heldSite, question: 'a' }), true);
    assert.equal(isHeldOut({ set: 'boolq', title: heldArticle, question: 'a' }), false);
    const open = Array.from({ length: 1000 }, (_, i) => ({ set: 'nq_openbook_short', title: '', question: `q${i}` }));
    assert.ok(Math.abs(open.filter(isHeldOut).length - 200) < 50);
    assert.equal(heldOut.squadArticles.length, 8);
  });

  it('and what is trained on are all of a set, and never the same', () => {
    const read = (split: 'training' | 'held-out') =>
      readExamples(folder.path, 'nq_openbook_short', tokenizer, { maxTokens: 100, split }).examples;
    const [training, held] = [read('training'), read('held-out')];
    assert.equal(training.length + held.length, 10);
    assert.ok(held.length > 0);
    assert.ok(held.every(isHeldOut) && !training.some(isHeldOut));
    // The answer that the passage has literally comes first.
    for (const { answers } of training) assert.match(answers[0], /^Ann/);
  });
});

describe('the material', () => {
  it('has examples of every family and counts what it leaves out', () => {
    const { questions, documents, exchanges, counts } = readMaterial(folder.path, options);
    assert.deepEqual([...questions.keys()], ['squad', 'policyqa', 'nq', 'boolq', 'quac', 'cuad', 'chinese']);
    assert.deepEqual(counts['squad-v1.1'], { examples: 2, cut: 1, unanswerable: 1, leaking: 0, long: 0 });
    // The long passage is no single chunk; the other stands in a held-out article.
    assert.deepEqual(counts.boolq, { examples: 1, cut: 1, unanswerable: 0, leaking: 1, long: 0 });
    const { quac, cuad, triviaqa, dolly_hhrlhf } = counts;
    const none = { cut: 0, leaking: 0, long: 0 };
    assert.deepEqual(quac, { ...none, examples: 2, unanswerable: 2, 'not in the passage': 0, repeated: 1 });
    const clauses = { unanswerable: 1, 'of long clauses': 0, 'not in the passage': 1 };
    assert.deepEqual(cuad, { ...none, examples: 1, ...clauses });
    assert.deepEqual(counts['documents of openstax'], { documents: 2, short: 2, leaking: 0 });
    assert.deepEqual(counts['documents of wiki_demo'], { documents: 1, short: 0, leaking: 1 });
    assert.deepEqual(triviaqa, { exchanges: 1, unanswerable: 0, repeated: 1, leaking: 0 });
    assert.deepEqual(dolly_hhrlhf, { exchanges: 1, empty: 0, leaking: 1 });
    assert.deepEqual(counts['documents of cuad'], { documents: 1, short: 0, leaking: 1 });
    // The same question about the same passage in three editions is one.
    const squad = questions.get('squad') ?? [];
    assert.deepEqual(
      squad.map((one) => one.questions.length),
      [1, 1],
    );
    assert.ok(squad[1]?.text.includes('Fact number 59') && squad[1].tokens.length <= 60);
    assert.deepEqual(
      questions.get('quac')?.flatMap((one) => one.questions.map(({ question, answer }) => [question, answer])),
      [
        ['Ann: Where was she born?', 'Rome'],
        ['Ann: Where did she die?', 'Oslo'],
      ],
    );
    const [clause] = questions.get('cuad') ?? [];
    assert.deepEqual(clause?.questions, [
      { question: 'What is the agreement date of the agreement?', answer: 'May 1, 2001' },
    ]);
    assert.ok(clause?.text.includes('May 1, 2001'));

    assert.deepEqual([...documents.keys()], ['squad', 'openstax', 'wiki_demo', 'cuad']);
    assert.equal(documents.get('wiki_demo')?.length, 1);
    assert.deepEqual(documents.get('openstax'), [article, article]);
    assert.ok(documents.get('squad')?.every((text) => !text.includes('ants')));
    assert.deepEqual(exchanges.get('gsm8k'), [{ prompt: '2+2?', answer: '2+2 = 4.' }]);
    assert.deepEqual(exchanges.get('dolly_hhrlhf'), [{ prompt: 'Greet\na bee', answer: 'Hello bee' }]);
    assert.deepEqual(exchanges.get('triviaqa'), [{ prompt: 'Who?', answer: 'Ann' }]);
  });

  it('of the held-out split has nothing of the training split', () => {
    const { questions, documents, exchanges } = readMaterial(folder.path, { ...options, split: 'held-out' });
    assert.deepEqual([...questions.keys()], ['squad', 'policyqa', 'nq']);
    assert.ok(questions.get('squad')?.every(({ text }) => !text.includes('bridge')));
    assert.ok([...documents.values()].flat().every((text) => !text.includes('bees')));
    assert.equal(exchanges.size, 0);
  });

  it('leaves out questions that do not fit', () => {
    const { counts } = readMaterial(folder.path, { ...options, contextTokens: 41 });
    assert.ok((counts['squad-v1.1']?.long ?? 0) > 0);
  });

  it('names a file that is missing, a question about nothing and a dialogue that is none', () => {
    assert.throws(() => readMaterial(`${folder.path}/none`, options), { code: 'not-found', message: /none/ });
    folder.write('broken/xquad/test-zh.contexts.jsonl.gz', lines([{ context_id: 'a', title: 'A', text: 'a' }]));
    folder.write(
      'broken/xquad/test-zh.qas.jsonl.gz',
      lines([{ context_id: 'z', question: 'q', answers: [], answer_starts: [] }]),
    );
    assert.throws(() => readQuestionSet(`${folder.path}/broken`, 'xquad-zh'), {
      code: 'damaged',
      message: /context z/,
    });
    const rows = [{ prompt: 'Title: Ann', answers: ['Rome'] }];
    folder.write('broken/quac/sample1000.jsonl.gz', lines(rows));
    assert.throws(() => readQuestionSet(`${folder.path}/broken`, 'quac'), {
      code: 'damaged',
      message: /sample1000\.jsonl\.gz, line 1: .*no dialogue/,
    });
  });
});

describe('the leakage guard', () => {
  const guard = guardAgainst([forest]);
  it('finds a passage inside a long text, but not a shared phrase', () => {
    assert.ok(guard.leaks(forest));
    assert.ok(guard.leaks(`${article} ${forest} ${article}`));
    assert.ok(guard.leaks(forest.toUpperCase().replaceAll(' ', '\n')));
    assert.ok(!guard.leaks(article));
    assert.ok(!guard.leaks(`${article.slice(0, 300)} where rain falls on two hundred days ${article.slice(0, 300)}`));
  });
});
