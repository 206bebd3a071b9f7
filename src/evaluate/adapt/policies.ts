/**
 * Privacy policies with questions (PolicyQA, MIT): the sites that the conversion's training leaves out.
 *
 * A document is a site, its passages in order. Sites answer the same questions, so a question names its site.
 */
import { isHeldOut } from '../../train/conversion/held-out.ts';
import { readContexts, readQuestionSet } from '../../train/conversion/question-sets.ts';
import { about, type Domain, type DomainQuestion, longestAnswer } from './domain.ts';

const parts = ['dev', 'test'] as const;
const set = 'policyqa';

export const policies: Domain = {
  name: 'policies',
  description: 'privacy policies of sites, questions of PolicyQA',
  files: parts.flatMap((part) => [`policyqa/${part}.contexts.jsonl.gz`, `policyqa/${part}.qas.jsonl.gz`]),
  trainedAs: set,
  heldOut: true,
  read(data) {
    const contexts = parts.flatMap((part) => readContexts(`${data}/policyqa/${part}.contexts.jsonl.gz`));
    const sites = Map.groupBy(contexts, ({ title }) => title);
    const asked = Map.groupBy(readQuestionSet(data, set).questions, ({ title }) => title);
    return [...sites]
      .filter(([site]) => isHeldOut({ set, title: site, question: '' }))
      .map(([site, passages]) => ({
        name: site,
        heading: site,
        text: passages.map(({ text }) => text).join('\n\n'),
        questions: (asked.get(site) ?? []).flatMap(({ question, answers }, index): DomainQuestion[] => {
          const [target = '', ...others] = answers;
          if (target.trim() === '' || target.length > longestAnswer) return [];
          return [
            { id: `${site}/${index}`, question: about(site, question), answers: [target, ...others], choices: null },
          ];
        }),
      }));
  },
};
