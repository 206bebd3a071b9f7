import { z } from 'zod';
import { asked, fields } from './forms.ts';
import { defineTask } from './task.ts';

/** GSM8K: sums in words; the last number that the model writes is its answer (Cobbe et al. 2021). */
export const gsm8k = defineTask({
  name: 'gsm8k',
  kind: 'generated',
  file: 'gsm8k/test.jsonl.gz',
  shots: 'gsm8k/train.jsonl.gz',
  maxTokens: 256,
  stop: '\n\n',
  metrics: ['exact'],
  extract: lastNumber,
  line: z.object({ id: fields.id, question: z.string(), solution: z.string(), answer: z.string().regex(/\d/) }),
  form: ({ question, solution, answer }) => ({
    query: question,
    prompt: asked(question),
    answers: [lastNumber(answer)],
    demonstration: ` ${solution}`,
  }),
});

function lastNumber(text: string): string {
  const numeral = text.match(/-?\d[\d,]*(?:\.\d+)?/g)?.at(-1) ?? '';
  return numeral === '' ? '' : String(Number(numeral.replaceAll(',', '')));
}
