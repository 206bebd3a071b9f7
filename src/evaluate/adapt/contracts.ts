/**
 * Contracts with questions about their clauses (CUAD, CC BY 4.0): clauses of a few words that lawyers marked.
 *
 * A document is a contract of at most 20 000 characters (a third of them are), so that a score of contracts is a matter of
 * minutes. Every contract has the same kinds of clauses, so a question names its contract by its company and kind; those
 * that such a name answers (the document's name, the parties) are left out.
 */
import { join } from 'node:path';
import { readContexts, readQuestionSet } from '../../train/conversion/question-sets.ts';
import { about, type Domain, type DomainQuestion, longestAnswer } from './domain.ts';

const longestContract = 20_000;
const contractsFile = 'cuad/contracts.contexts.jsonl.gz';

export const contracts: Domain = {
  name: 'contracts',
  description: 'contracts, questions about clauses that CUAD marks in them',
  files: [contractsFile, 'cuad/clauses.jsonl.gz'],
  trainedAs: 'cuad',
  heldOut: false,
  read(data) {
    const all = readContexts(join(data, contractsFile)).filter(({ text }) => text.length <= longestContract);
    const alike = Map.groupBy(all, ({ title }) => headingOf(title));
    const asked = Map.groupBy(readQuestionSet(data, 'cuad').questions, ({ title }) => title);
    return all.map(({ context_id: name, title, text }) => {
      const short = headingOf(title);
      const heading = alike.get(short)?.length === 1 ? short : title;
      const questions = (asked.get(title) ?? []).flatMap(({ question, answers }, index): DomainQuestion[] => {
        const [target = ''] = answers;
        if (target.length > longestAnswer || saysItself.test(question)) return [];
        return [{ id: `${name}/${index}`, question: about(heading, question), answers: [target], choices: null }];
      });
      return { name, heading, text, questions };
    });
  },
};

const saysItself = /document name|Who is a party/;

/** "ACME INC_06_15_2020-EX-4.25-SERVICES AGREEMENT" is "ACME INC, SERVICES AGREEMENT". */
function headingOf(title: string): string {
  const company = title.split('_')[0]?.trim() ?? '';
  const kind =
    title
      .split(/[_-]/)
      .findLast((part) => /[a-z]{3}/i.test(part))
      ?.trim() ?? '';
  if (company === '' || company === title) return title;
  return kind === company ? company : `${company}, ${kind}`;
}
