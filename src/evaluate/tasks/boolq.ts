import { asked, choiceForm, fields, lines, wordChoices } from './forms.ts';
import { defineTask } from './task.ts';

/** BoolQ: yes or no about a passage (Clark et al. 2019). */
export const boolq = defineTask({
  ...wordChoices,
  name: 'boolq',
  file: 'boolq/validation.jsonl.gz',
  shots: 'boolq/train.jsonl.gz',
  line: lines.question.extend({ passage: fields.text }),
  gold: ({ passage }) => [passage],
  form: ({ passage, question, choices, answer }) => {
    // One of the files has the question marks, the other has not.
    const whole = question.endsWith('?') ? question : `${question}?`;
    const first = `${passage}\n`;
    return { ...choiceForm(whole, `${first}${asked(whole)}`, choices, answer), passage: first };
  },
});
