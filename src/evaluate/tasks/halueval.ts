import { z } from 'zod';
import { choiceForm, fields, wordChoices } from './forms.ts';
import { type ChoiceForm, defineTask } from './task.ts';

/** The model is asked whether an answer says what is not so. */
function judged(said: string, query: string, isHallucinated: boolean): ChoiceForm {
  const prompt = `${said}\nDoes the answer contain something that is wrong or made up?\nYes or no:`;
  return choiceForm(query, prompt, ['yes', 'no'], isHallucinated ? 0 : 1);
}

/** HaluEval, question answering: a right answer and a made-up one of each question (Li et al. 2023). */
export const haluevalQa = defineTask({
  ...wordChoices,
  name: 'halueval_qa',
  file: 'halueval/qa_half_a.jsonl.gz',
  shots: 'own',
  line: z.object({
    id: fields.id,
    knowledge: z.string(),
    question: z.string(),
    right_answer: z.string(),
    hallucinated_answers: z.array(z.string()),
  }),
  gold: ({ knowledge }) => [knowledge],
  form: ({ knowledge, question, right_answer, hallucinated_answers }) => {
    const passage = `Knowledge: ${knowledge}\n`;
    const about = (answer: string, isMadeUp: boolean): ChoiceForm => ({
      ...judged(`${passage}Question: ${question}\nAnswer: ${answer}`, question, isMadeUp),
      passage,
    });
    return [about(right_answer, false), ...hallucinated_answers.slice(0, 1).map((answer) => about(answer, true))];
  },
});

/** HaluEval, general: answers of a large model, judged by people. */
export const haluevalGeneral = defineTask({
  ...wordChoices,
  name: 'halueval_general',
  file: 'halueval/general_half_a.jsonl.gz',
  shots: 'own',
  line: z.object({ id: fields.id, user_query: z.string(), response: z.string(), hallucination: z.enum(['yes', 'no']) }),
  form: ({ user_query, response, hallucination }) =>
    judged(`Question: ${user_query}\nAnswer: ${response}`, user_query, hallucination === 'yes'),
});
