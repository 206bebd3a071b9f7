import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { adaptationData, heldSites } from '../../../test/support/adaptation.ts';
import type { TemporaryFolder } from '../../../test/support/temporary.ts';
import { type TinyModel, tinyModel } from '../../../test/support/tiny-trained.ts';
import { shippedAdapters } from '../../generate/adapted-model.ts';
import { isSeen } from './domain.ts';
import { domainNamed, domains } from './domains.ts';
import { headedText, readMaterial } from './material.ts';

let data: TemporaryFolder;
let tiny: TinyModel;
before(async () => {
  data = adaptationData();
  tiny = await tinyModel();
});
after(() => data[Symbol.dispose]());

const read = (name: string) => domainNamed(name).read(data.path);

describe('domains', () => {
  it('policies are the sites that training leaves out; a question names its site', () => {
    const documents = read('policies');
    assert.deepEqual(
      documents.map(({ name }) => name),
      heldSites,
    );
    const [first] = documents;
    assert.match(first?.text ?? '', /^We delete .* Monday\.[\s\S]*\n\nWe tell .* mayor/);
    assert.deepEqual(
      first?.questions.map(({ question, answers }) => [question, ...answers]),
      [
        [`${heldSites[0]}: When is my data deleted?`, 'Monday'],
        [`${heldSites[0]}: Who is told?`, 'mayor'],
      ],
      'an answer of several sentences is left out',
    );
  });

  it('contracts are short ones; what a name answers is not asked; names that two share are told apart', () => {
    const documents = read('contracts');
    assert.deepEqual(
      documents.map(({ name, heading }) => [name, heading]),
      [
        ['contract-1', 'ACME1 INC_01_01_2020-EX-1-LICENCE AGREEMENT'],
        ['contract-2', 'ACME2 INC, LICENCE AGREEMENT'],
        ['contract-4', 'ACME1 INC_02_02_2021-EX-2-LICENCE AGREEMENT'],
      ],
    );
    assert.deepEqual(documents[1]?.questions, [
      {
        id: 'contract-2/0',
        question: 'ACME2 INC, LICENCE AGREEMENT: What is the governing law of the agreement?',
        answers: ['the law of Iowa'],
        choices: null,
      },
    ]);
  });

  it('textbook: exercises become questions and are in no text; choices that speak of others are left out', () => {
    const documents = read('textbook');
    assert.deepEqual(
      documents.map(({ name, questions }) => [name, questions.length]),
      [
        ['b1', 1],
        ['b2', 0],
        ['a1', 1],
      ],
    );
    const [first] = documents;
    assert.deepEqual(first?.questions[0], {
      id: 'b1/0',
      question: 'Which thing is the answer ________?',
      answers: ['the question'],
      choices: ['the theory', 'the question', 'a book'],
    });
    assert.match(first?.text ?? '', /^The first question of the thing[\s\S]*Summary[\s\S]*Glossary[\s\S]*in the book$/);
    assert.doesNotMatch(first?.text ?? '', /Review|________|Because|Free Response|example\.org|\^/);
  });

  it('say what the adapter that ships was trained on', () => {
    const [shipped] = shippedAdapters();
    assert.ok(shipped !== undefined);
    assert.deepEqual(
      domains.map((domain) => [domain.name, isSeen(domain, shipped.card), isSeen(domain, null)]),
      [
        ['policies', false, false],
        ['contracts', true, false],
        ['textbook', true, false],
      ],
    );
  });

  it('wrong names and damaged data are errors that say which', () => {
    assert.throws(() => domainNamed('poems'), {
      code: 'usage',
      message: /"poems"[\s\S]*policies, contracts, textbook/,
    });
    using broken = adaptationData();
    broken.write('openstax_textbooks/anatomy.jsonl.gz', gzipSync('{"doc_id":"a1","title":"A"}\n'));
    assert.throws(() => domainNamed('textbook').read(broken.path), {
      code: 'damaged',
      message: /anatomy\.jsonl\.gz, line 1[\s\S]*text/,
    });
    assert.throws(() => domainNamed('policies').read('/nowhere'), { code: 'not-found', message: /policyqa/ });
  });
});

describe('material', () => {
  const options = { texts: 20, limit: 100, seed: 3, maxTokens: 100 };

  it('is drawn by the seed; what validates is neither adapted to nor asked about', () => {
    const draw = (seed: number, changes = {}) =>
      readMaterial(domainNamed('policies'), data.path, tiny.tokenizer, { ...options, seed, ...changes });
    const one = draw(3);
    assert.deepEqual(draw(3), one);
    assert.deepEqual([one.texts.length, one.validation.length, one.questions.length], [3, 1, 6]);
    const names = one.texts.map(({ name }) => name);
    assert.ok(!names.includes(one.validation[0]?.name ?? ''));
    assert.ok(one.questions.every(({ id }) => names.includes(id.split('/')[0] ?? '')));
    assert.notDeepEqual(
      [1, 2, 4, 5].map((seed) =>
        draw(seed)
          .questions.map(({ id }) => id)
          .join(),
      ),
      [1, 2, 4, 5].map(() => one.questions.map(({ id }) => id).join()),
    );
    const few = draw(3, { texts: 1, limit: 1 });
    assert.deepEqual([few.texts.length, few.validation.length, few.questions.length], [1, 1, 1]);
  });

  it('is refused where a domain has nothing to validate with', () => {
    const alone = { name: 'alone', read: () => read('policies').slice(0, 1) };
    assert.throws(() => readMaterial(alone, data.path, tiny.tokenizer, options), {
      code: 'usage',
      message: /alone has 1 documents/,
    });
  });

  it('every reference begins with the heading, fits, is a slice of the text, and nothing is lost', () => {
    const text = Array.from({ length: 30 }, (_, i) => `Sentence ${i} is about the theory.`).join(' ');
    const headed = headedText({ name: 'n', heading: 'The book', text }, tiny.tokenizer, 60);
    assert.ok(headed.references.length > 5);
    for (const { text: piece, start, end, tokens } of headed.references) {
      assert.ok(piece.startsWith('The book: '));
      assert.ok(tokens.length <= 60);
      assert.equal(headed.text.slice(start, end), piece);
    }
    const pieces = headed.references.map(({ text: piece }) => piece.slice('The book: '.length));
    assert.equal(pieces.join(' '), text);
    assert.throws(() => headedText({ name: 'n', heading: 'x y '.repeat(40), text }, tiny.tokenizer, 60), {
      code: 'usage',
    });
  });
});
