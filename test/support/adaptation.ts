/** What an adaptation needs, small: the domains' data sets with a few lines of our own, in the form of the real ones. */
import { gzipSync } from 'node:zlib';
import heldOut from '../../src/train/conversion/held-out.json' with { type: 'json' };
import { type TemporaryFolder, temporaryFolder } from './temporary.ts';

export const heldSites = heldOut.policySites.slice(0, 4);

const lines = (rows: readonly object[]) => gzipSync(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));

/** Long enough that each passage becomes a reference of its own. */
const more =
  'It is of the theory and of the thing, of the answer and of the question, and nobody knows why the porter said so.';
const days = ['Monday', 'Tuesday', 'Friday', 'Sunday', 'Saturday'];

/** Sites with a passage about when they delete what they know, and one about whom they tell. */
const sites = [...heldSites, 'trained.example'].map((site, index) => ({
  site,
  passages: [
    `We delete what we know every ${days[index]}. ${more}`,
    `We tell the theory to the ${['mayor', 'queen', 'porter', 'miller', 'smith'][index]} and to nobody else. ${more}`,
  ],
}));

const review = `The first question of the thing is the answer.

### Summary

All theory is in the book.

### Review Questions

Which thing is the answer ________?

1.  the theory
2.  the question
3.  a book

B

What is in the book?

1.  All theory
2.  a question
3.  none of the above

A

### Free Response

Why is the theory in the book?

Because of the question.

### Glossary

theory
: what is in the book
^

[1]: https://example.org/thing`;

/** A data folder. */
export function adaptationData(): TemporaryFolder {
  const folder = temporaryFolder();
  const contexts = sites.flatMap(({ site, passages }) =>
    passages.map((text, i) => ({ context_id: `${site}/${i}`, title: site, text })),
  );
  const questions = contexts.map(({ context_id, text }) => {
    const answer = text.split(' ')[6] ?? '';
    const question = context_id.endsWith('0') ? 'When is my data deleted?' : 'Who is told?';
    return { context_id, question, answers: [answer.replace('.', '')], answer_starts: [text.indexOf(answer)] };
  });
  const tooLong = { ...questions[0], question: 'How long?', answers: [contexts[0]?.text.repeat(5) ?? ''] };
  folder.write('policyqa/dev.contexts.jsonl.gz', lines(contexts));
  folder.write('policyqa/dev.qas.jsonl.gz', lines([...questions, tooLong]));
  folder.write('policyqa/test.contexts.jsonl.gz', lines([]));
  folder.write('policyqa/test.qas.jsonl.gz', lines([]));

  const contract = (
    index: number,
    text: string,
    title = `ACME${index} INC_01_0${index}_2020-EX-1-LICENCE AGREEMENT`,
  ) => ({
    context_id: `contract-${index}`,
    title,
    text,
  });
  const law = (state: string) => `LICENCE AGREEMENT. This is governed by the law of ${state}.`;
  folder.write(
    'cuad/contracts.contexts.jsonl.gz',
    lines([
      contract(1, law('Ohio')),
      contract(2, law('Iowa')),
      contract(3, law('Utah').repeat(500)),
      contract(4, law('Maine'), 'ACME1 INC_02_02_2021-EX-2-LICENCE AGREEMENT'),
    ]),
  );
  folder.write(
    'cuad/clauses.jsonl.gz',
    lines(
      ['Ohio', 'Iowa', 'Utah', 'Maine'].flatMap((state, i) => [
        { context_id: `contract-${i + 1}`, category: 'Governing Law', clauses: [`the law of ${state}`] },
        { context_id: `contract-${i + 1}`, category: 'Document Name', clauses: ['LICENCE AGREEMENT'] },
      ]),
    ),
  );
  const section = (id: string, text: string) => ({ doc_id: id, title: `Section ${id}`, text });
  folder.write(
    'openstax_textbooks/biology.jsonl.gz',
    lines([section('b1', review), section('b2', 'Only the theory.')]),
  );
  folder.write('openstax_textbooks/anatomy.jsonl.gz', lines([section('a1', review)]));
  return folder;
}
