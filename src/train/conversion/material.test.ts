/** Data sets of a few lines in a folder of their own, each in the form of its real one. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { byteLevelMetadata } from '../../../test/support/small-tokenizer.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { tokenizerFromGguf } from '../../model/tokenizer-gguf.ts';
import { readExamples } from './examples.ts';
import heldOut from './held-out.json' with { type: 'json' };
import { isHeldOut } from './held-out.ts';
import { guardAgainst } from './leakage.ts';
import { type MaterialOptions, readMaterial } from './material.ts';
import { readQuestionSet } from './question-sets.ts';

const tokenizer = tokenizerFromGguf(byteLevelMetadata());
const lines = (rows: readonly object[]) => gzipSync(rows.map((row) => JSON.stringify(row)).join('\n'));
const heldArticle = heldOut.squadArticles[0] as string;
const heldSite = heldOut.policySites[0] as string;

const bridge = 'The bridge was built in 1887. It is made of iron and crosses the river near the old mill.';
const forest = 'Most of the forest lies in Brazil, where rain falls on two hundred days of every year or more.';
const article = Array.from({ length: 60 }, (_, i) => `Fact number ${i} about ${i % 7} bees.`).join(' ');

/** The text of a data set in SQuAD's form: one question about each passage. */
function squadForm(passages: readonly (readonly [title: string, text: string, answer: string | null])[]) {
  const contexts = passages.map(([title, text], i) => ({ context_id: `${title}/${i}`, title, text }));
  const questions = passages.map(([title, text, answer], i) => ({
    context_id: `${title}/${i}`,
    question: `What about ${title} ${i}?`,
    answers: answer === null ? [] : [answer],
    answer_starts: answer === null ? [] : [text.indexOf(answer)],
  }));
  return { contexts: lines(contexts), questions: lines(questions) };
}

let folder: TemporaryFolder;
before(() => {
  folder = temporaryFolder();
  const squadLike = (path: string, passages: Parameters<typeof squadForm>[0]) => {
    const { contexts, questions } = squadForm(passages);
    folder.write(`${path}.contexts.jsonl.gz`, contexts);
    folder.write(`${path}.qas.jsonl.gz`, questions);
  };
  const squad = [
    ['Bridge', bridge, '1887'],
    ['Bridge', article, 'Fact number 59'],
    ['Bridge', bridge, null],
    ['Bridge', bridge, '1887. It'],
    [heldArticle, forest, 'Brazil'],
    [heldArticle, article.replaceAll('bees', 'ants'), 'ants'],
  ] as const;
  squadLike('squad/dev-v1.1', squad);
  squadLike('squad/dev-v2.0', squad.slice(0, 1));
  squadLike('xquad/test-en', [
    ['Bridge', bridge, '1887'],
    [heldArticle, forest, 'Brazil'],
  ]);
  squadLike('xquad/test-zh', [['Bridge', '这座桥建于1887年。', '1887年']]);
  squadLike('cmrc2018/trial', [['桥', '桥是铁做的。', '铁']]);
  squadLike('policyqa/dev', [['a.example', 'We share nothing with anybody.', 'nothing']]);
  squadLike('policyqa/test', [[heldSite, 'We share all we know with everybody we meet.', 'all we know']]);
  const open = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((i) => ({
    question: `who ${i}`,
    context: `Number ${i} was the work of Ann${i}.`,
    answers: ['Bob', `Ann${i}`],
  }));
  folder.write('nq_openbook_short/dev.jsonl.gz', lines(open));
  const yes = { choices: ['no', 'yes'], answer: 1 };
  folder.write(
    'boolq/train.jsonl.gz',
    lines([
      { passage: 'Bees dance.', question: 'do bees dance', ...yes },
      { passage: article, question: 'is this long', ...yes },
      { passage: forest, question: 'does this leak', ...yes },
    ]),
  );
  const dialogue = (turns: string) =>
    `Title: Ann\n\nBackground: A painter.\n\nSection: Life\nContext: Ann was born in Rome. She died in Oslo. CANNOTANSWER\n\n${turns}`;
  folder.write(
    'quac/sample1000.jsonl.gz',
    lines([
      { prompt: dialogue('Question: Where was she born? '), answers: ['Rome'] },
      {
        prompt: dialogue('Question: Where was she born?\nAnswer: Rome\n\nQuestion: Did she paint? '),
        answers: ['CANNOTANSWER'],
      },
      {
        prompt: dialogue('Question: Did she paint?\nAnswer: CANNOTANSWER\n\nQuestion: Where did she die? '),
        answers: ['Oslo'],
      },
    ]),
  );
  const contract = `${'x '.repeat(400)}The SUPPLY AGREEMENT is made on May 1, 2001 by both. ${'y '.repeat(900)}`;
  folder.write('cuad/contracts.contexts.jsonl.gz', lines([{ context_id: 'c', title: 'C', text: contract }]));
  folder.write(
    'cuad/clauses.jsonl.gz',
    lines([
      { context_id: 'c', category: 'Agreement Date', clauses: ['May 1, 2001'] },
      { context_id: 'c', category: 'Parties', clauses: ['somebody else'] },
      { context_id: 'c', category: 'Exclusivity', clauses: [] },
    ]),
  );
  for (const book of ['anatomy', 'biology']) {
    folder.write(
      `openstax_textbooks/${book}.jsonl.gz`,
      lines([{ text: `class="x"\n${article} ([[link]](#fig-1))` }, { text: 'short' }]),
    );
  }
  folder.write('wiki_demo/all.jsonl.gz', lines([{ text: article }, { text: `${article} ${forest}` }]));
  folder.write(
    'dolly_hhrlhf/train_small1000.jsonl.gz',
    lines([{ instruction: 'Greet', input: 'a bee', output: ' Hello bee ' }]),
  );
  folder.write('self_instruct_seed/seed_tasks.jsonl.gz', lines([{ instruction: 'Say a', input: '', output: 'a' }]));
  folder.write('gsm8k/train.jsonl.gz', lines([{ question: '2+2?', solution: '2+2 = <<2+2=4>>4.\n#### 4' }]));
  for (const part of ['sm_sub3000', 'test_sub1000']) {
    folder.write(`triviaqa/${part}.jsonl.gz`, lines([{ question: 'Who?', answers: ['Ann', 'Bob'] }]));
  }
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

  it('names a file that is missing and a question about nothing', () => {
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
