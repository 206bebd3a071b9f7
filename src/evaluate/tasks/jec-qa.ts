import { z } from 'zod';
import { askedInChinese, fields, letters, wordChoices } from './forms.ts';
import { type ChoiceForm, defineTask } from './task.ts';

const line = z.object({
  id: fields.id,
  question: z.string(),
  /** "正确答案：D。" */
  answer: z.string().regex(/[:：][A-D]。?$/),
});

function form(question: string, answer: string): ChoiceForm {
  const right = letters(4).indexOf(/[A-D]/.exec(answer)?.[0] as string);
  // The choices stand in the question: "...?A:...;B:...;C:...;D:...。"
  const [asks = question] = question.split(/A[:：]/);
  return { query: asks, prompts: [{ text: askedInChinese(question), continuations: letters(4) }], right: [right] };
}

/** JEC-QA, knowledge of law: questions of the Chinese bar examination, as LawBench has them (Zhong et al. 2020). */
export const jecQaKnowledge = defineTask({
  ...wordChoices,
  name: 'jec_qa_knowledge',
  file: 'lawbench/task_1-2.jsonl.gz',
  shots: 'own',
  line,
  form: ({ question, answer }) => form(question, answer),
});

/** JEC-QA, cases. */
export const jecQaCase = defineTask({
  ...wordChoices,
  name: 'jec_qa_case',
  file: 'lawbench/task_3-6.jsonl.gz',
  shots: 'own',
  line,
  form: ({ question, answer }) => form(question, answer),
});
