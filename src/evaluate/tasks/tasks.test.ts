/** Every task reads lines in the form of its data set, and makes of them what it says. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { evaluationData } from '../../../test/support/evaluation.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { taskNamed, tasks } from './all.ts';
import { type Item, type ItemOf, readMaterial, type TaskKind, textOf } from './task.ts';

let data: TemporaryFolder;
before(() => {
  data = evaluationData();
});
after(() => data[Symbol.dispose]());

const all = { limit: 100, shots: 0, seed: 0 };

function read<Kind extends TaskKind>(name: string, kind: Kind, changes: Partial<typeof all> = {}) {
  type OfKind = Extract<Item, { kind: Kind }>;
  const { items, shots } = readMaterial(taskNamed(name), data.path, { ...all, ...changes });
  const ofKind = items.filter((item): item is OfKind => item.kind === kind);
  return { items: ofKind.toSorted((a, b) => (a.id < b.id ? -1 : 1)), shots: [...shots] };
}

const firstChoice = (name: string) => read(name, 'choice').items[0] as ItemOf<'choice'>;

describe('every task', () => {
  it('has a name of its own', () => {
    assert.equal(new Set(tasks.map(({ name }) => name)).size, tasks.length);
  });

  for (const task of tasks) {
    it(task.name, () => {
      const { items } = readMaterial(task, data.path, all);
      assert.equal(new Set(items.map(({ id }) => id)).size, items.length, 'ids differ');
      for (const item of items) {
        assert.ok(item.query.trim() !== '' && textOf(item) !== '');
        if (task.kind !== 'choice') continue;
        const { prompts, right } = item as ItemOf<'choice'>;
        const count = prompts.reduce((sum, { continuations }) => sum + continuations.length, 0);
        assert.ok(count > 1 && right.length > 0 && right.length < count);
        assert.ok(right.every((index) => index >= 0 && index < count));
      }
      if (task.shots === null) return;
      const { shots } = readMaterial(task, data.path, { ...all, shots: 2 });
      assert.ok(shots.size > 0);
      for (const text of shots.values()) assert.match(text, /\S\n\n(?:.|\n)*\S\n\n$/);
    });
  }
});

describe('forms', () => {
  it('a question and its choices as text', () => {
    const { prompts, right, query } = firstChoice('arc_easy');
    assert.deepEqual(prompts, [
      {
        text: 'Question: What colour is the roof of house 0?\nAnswer:',
        continuations: [' red', ' green and yellow', ' blue', ' as black as a night without a moon'],
      },
    ]);
    assert.deepEqual([right, query], [[0], 'What colour is the roof of house 0?']);
  });

  it('choices as letters', () => {
    const { prompts, group } = firstChoice('mmlu');
    assert.match(prompts[0]?.text ?? '', /\nA\. red\nB\. green and yellow\nC\. blue\nD\. .*\nAnswer:$/);
    assert.deepEqual([prompts[0]?.continuations, group], [[' A', ' B', ' C', ' D'], 'doors']);
    assert.deepEqual(firstChoice('cmmlu').prompts[0]?.continuations, ['A', 'B', 'C', 'D']);
  });

  it('the same rest behind different beginnings, and the training form of it', () => {
    const { prompts, right } = firstChoice('winogrande');
    assert.deepEqual(prompts[1], {
      text: 'Ann saw Eve at gate 0 because Eve',
      continuations: [' was looking.'],
    });
    assert.deepEqual(right, [0]);
    const [[, shots] = []] = read('winogrande', 'choice', { shots: 1 }).shots;
    assert.match(shots ?? '', /^Door \d hit the wall because the door was open\.\n\n$/);
  });

  it('one question mark, whichever file', () => {
    assert.match(
      firstChoice('boolq').prompts[0]?.text ?? '',
      /roof\.\nQuestion: is the roof of house 0 green\?\nAnswer:$/,
    );
    const [[, shots] = []] = read('boolq', 'choice', { shots: 1 }).shots;
    assert.match(shots ?? '', /green\?\nAnswer: yes\n\n$/);
  });

  it('several true answers', () => {
    assert.deepEqual(firstChoice('truthfulqa_mc2').right, [0, 1]);
    assert.deepEqual(firstChoice('truthfulqa_mc1').right, [0]);
  });

  it('the letter in an answer of JEC-QA; the query without choices', () => {
    const { right, query } = read('jec_qa_case', 'choice').items[2] as ItemOf<'choice'>;
    assert.deepEqual([right, query], [[2], '第2题哪一项正确?']);
  });

  it('two judgements of each question of HaluEval', () => {
    const { items } = read('halueval_qa', 'choice');
    assert.deepEqual(
      items.slice(0, 2).map(({ id, right }) => [id, right]),
      [
        ['haluqa-0/0', [1]],
        ['haluqa-0/1', [0]],
      ],
    );
    assert.match(items[1]?.prompts[0]?.text ?? '', /Answer: Bob did\./);
  });

  it('only the test half of PubMedQA', () => {
    assert.equal(read('pubmedqa', 'choice').items.length, 3);
  });

  it('own passages: of a file of contexts, of another set, of the line itself; none where there are none', () => {
    const gold = (name: string) => {
      const read = readMaterial(taskNamed(name), data.path, { ...all, gold: true }).gold;
      return read === null ? null : Object.fromEntries(read);
    };
    assert.equal(gold('squad')?.['squad-0']?.[0], 'Ann Iron0 built it.');
    assert.equal(gold('squad')?.['squad-8'], undefined, 'the file of contexts lacks one');
    assert.deepEqual(gold('xquad_zh')?.['xquad-zh-2'], ['1887年。']);
    assert.deepEqual(gold('nq_open'), {
      'nq-0': ['Bridge 0 is of Ann Iron0.'],
      'nq-1': ['Bridge 1 is of Ann Iron1.'],
    });
    assert.deepEqual(gold('halueval_qa')?.['haluqa-1/1'], ['Ann built bridge 1.']);
    assert.deepEqual(gold('pubmedqa')?.['pubmed-1'], ['We tried.\n\nIt did.']);
    assert.equal(gold('sciq')?.['sciq-0'], undefined, 'an empty support is none');
    assert.equal(gold('arc_easy'), null);
    assert.equal(readMaterial(taskNamed('squad'), data.path, all).gold, null);
  });

  it('a passage that prompts begin with can be taken away', () => {
    for (const name of ['boolq', 'pubmedqa', 'sciq', 'halueval_qa']) {
      for (const { prompts, passage = '' } of read(name, 'choice').items) {
        for (const { text } of prompts) {
          assert.ok(text.startsWith(passage));
          assert.match(text.slice(passage.length), /^Question: /);
        }
      }
    }
  });

  it('right choices as texts, where they are some', () => {
    for (const name of ['arc_easy', 'mmlu', 'cmmlu', 'medqa', 'medmcqa', 'commonsenseqa']) {
      assert.deepEqual(firstChoice(name).answers, ['red'], name);
    }
    assert.deepEqual(firstChoice('truthfulqa_mc2').answers, ['No, it is not.', 'Nobody knows one.']);
    for (const name of ['boolq', 'pubmedqa', 'jec_qa_case']) assert.equal(firstChoice(name).answers, undefined);
  });

  it('numbers of sums, whatever is written around them', () => {
    const task = taskNamed('gsm8k');
    assert.ok(task.kind === 'generated');
    assert.deepEqual(read('gsm8k', 'generated').items[1]?.answers, ['1201']);
    const written = ['So it is 1,201.', '#### 1201', 'none', '5 and -3.50', 'It costs $1,000,000'];
    assert.deepEqual(
      written.map((text) => task.extract?.(text)),
      ['1201', '1201', '', '-3.5', '1000000'],
    );
  });

  it('leaves out what was trained on, where that is asked for and something else is there', () => {
    const titles = ['Force', 'Warsaw', 'Black_Death', 'Nikola_Tesla'];
    using folder = temporaryFolder();
    const line = (title: string, index: number) =>
      JSON.stringify({ id: `${index}`, question: `About ${title}?`, answers: ['Yes'], context_id: 'c', title });
    folder.write('squad/dev-v1.1.qas.jsonl.gz', gzipSync(titles.map((title, i) => `${line(title, i)}\n`).join('')));
    const ids = (heldOut: boolean) =>
      readMaterial(taskNamed('squad'), folder.path, { ...all, heldOut })
        .items.map(({ id }) => id)
        .sort();
    assert.deepEqual(
      [ids(false), ids(true)],
      [
        ['0', '1', '2', '3'],
        ['0', '2'],
      ],
    );
    const trivia = taskNamed('triviaqa');
    assert.equal(trivia.trained, 'all');
    assert.deepEqual(readMaterial(trivia, data.path, { ...all, heldOut: true }), readMaterial(trivia, data.path, all));
  });

  it('refuses lines that have no right answer', () => {
    using folder = temporaryFolder();
    const refused = (name: string, file: string, line: object) => {
      folder.write(file, gzipSync(`${JSON.stringify(line)}\n`));
      assert.throws(() => readMaterial(taskNamed(name), folder.path, all), {
        code: 'damaged',
        message: /jsonl\.gz[:,]/,
      });
    };
    refused('copa', 'copa/validation.jsonl.gz', { id: 'x', question: 'Why?', choices: ['a', 'b'], answer: 2 });
    const labels = { mc1_choices: ['a', 'b'], mc1_labels: [0, 0], mc2_choices: ['a', 'b'], mc2_labels: [0, 0] };
    refused('truthfulqa_mc2', 'truthfulqa/half_a.jsonl.gz', { id: 'x', question: 'Why?', ...labels });
    refused('gsm8k', 'gsm8k/test.jsonl.gz', { id: 'x', question: '2+2?', solution: 'Four.', answer: 'four' });
  });

  it('tells lines apart that have the same id', () => {
    using folder = temporaryFolder();
    const line = JSON.stringify({ id: 'one', question: 'Who?', answers: ['Ann'] });
    folder.write('triviaqa/sm_sub3000.jsonl.gz', gzipSync(`${line}\n${line}\n`));
    const { items } = readMaterial(taskNamed('triviaqa'), folder.path, all);
    assert.deepEqual(items.map(({ id }) => id).sort(), ['one', 'one#2']);
  });

  it('draws the same items each time, and no item that is a shot', () => {
    const once = readMaterial(taskNamed('squad'), data.path, { limit: 4, shots: 3, seed: 7 });
    assert.deepEqual(readMaterial(taskNamed('squad'), data.path, { limit: 4, shots: 3, seed: 7 }), once);
    const shots = once.shots.get('') ?? '';
    assert.equal(shots.match(/Answer: Ann/g)?.length, 3);
    for (const item of once.items) assert.ok(!shots.includes(item.query));
    assert.throws(() => read('squad', 'generated', { shots: 10 }), { code: 'usage' });
    // Of three questions, two judgements each.
    assert.equal(read('halueval_qa', 'choice', { shots: 1 }).items.length, 4, 'no item that asks what a shot asks');
  });
});
