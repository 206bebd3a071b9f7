/**
 * Two textbooks (OpenStax Biology, and Anatomy and Physiology, CC BY 3.0) with the review questions at the end of their
 * sections: multiple choice, so that accuracy is a quality too.
 *
 * A document is a section up to its exercises, with its summary and glossary; the exercises and their keys are cut out of
 * it. A section looks so:
 *
 *   text | ### Section Summary | ### Review Questions | ### Free Response | ### Glossary
 *
 * and a review question so: a line or more, a numbered list, the letter of the right one.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { readJsonLines } from '../../json-lines.ts';
import type { Domain, DomainQuestion } from './domain.ts';

const files = ['biology', 'anatomy'].map((book) => `openstax_textbooks/${book}.jsonl.gz`);
const sectionSchema = z.object({ doc_id: z.string().min(1), title: z.string().min(1), text: z.string() });

export const textbook: Domain = {
  name: 'textbook',
  description: "sections of OpenStax's biology and anatomy, their review questions",
  files,
  trainedAs: 'openstax',
  heldOut: false,
  read(data) {
    const sections = files.flatMap((file) => readJsonLines(join(data, file), sectionSchema));
    return sections.flatMap(({ doc_id: name, title, text }) => {
      const parts = partsOf(text);
      const exercises = parts.filter(({ heading }) => exerciseHeading.test(heading));
      const rest = parts.filter((part) => !exercises.includes(part)).map(({ text: part }) => part);
      const questions = exercises
        .filter(({ heading }) => choiceHeading.test(heading))
        .flatMap(({ text: part }) => reviewQuestions(part))
        .map((question, index): DomainQuestion => ({ id: `${name}/${index}`, ...question }));
      const kept = cleaned(rest.join('\n\n'));
      return kept === '' ? [] : [{ name, heading: title, text: kept, questions }];
    });
  },
};

const exerciseHeading =
  /question|free response|art connection|multiple choice|fill in|essay|exercise|^references$|^footnotes$/i;
const choiceHeading = /review question|multiple choice/i;

/** A section cut at its headings; what stands before the first has none. */
function partsOf(text: string): { heading: string; text: string }[] {
  return text.split(/^(?=### )/m).map((part) => {
    const heading = /^### (.*)/.exec(part)?.[1]?.trim() ?? '';
    return { heading, text: part };
  });
}

/** Without links, their targets, and what is left of markup. */
function cleaned(text: string): string {
  return text
    .replaceAll(/^class=.*$|^\s*"\)\s*$|^\^\s*$|^\[\d+\]: \S+\s*$/gm, '')
    .replaceAll(/\[\[link\]\]\([^)]*\)/g, '')
    .replaceAll(/\[([^\]]*)\]\[\d+\]/g, '$1')
    .replaceAll(/\n{3,}/g, '\n\n')
    .trim();
}

/** Choices that speak of other choices have no likelihood of their own. */
const speaksOfOthers = /\b(?:of (?:the|these) (?:above|choices|answers)|none of|all of|both|either|[a-d] and [a-d])\b/i;
const item = /^(\d+)\.\s+(.+)$/;

/** Questions whose key is one letter and whose choices stand for themselves. */
function reviewQuestions(part: string): Omit<DomainQuestion, 'id'>[] {
  const questions: Omit<DomainQuestion, 'id'>[] = [];
  const lines = part.split('\n').map((line) => line.trim());
  for (const [at, line] of lines.entries()) {
    if (!/^[A-F]$/.test(line)) continue;
    const before = lines.slice(0, at).filter((one) => one !== '');
    const choices: string[] = [];
    for (let one = before.pop(); one !== undefined; one = before.pop()) {
      const [, number, text = ''] = item.exec(one) ?? [];
      if (number === undefined) {
        before.push(one);
        break;
      }
      choices.unshift(text);
      if (number === '1') break;
    }
    const right = choices[line.charCodeAt(0) - 65];
    const question = cleaned(before.at(-1) ?? '');
    if (right === undefined || choices.length < 2 || question === '' || /^###|^[A-F]$/.test(question)) continue;
    if (choices.some((choice) => speaksOfOthers.test(choice)) || new Set(choices).size < choices.length) continue;
    questions.push({ question, answers: [right], choices });
  }
  return questions;
}
