/** Every task: one line each. */
import { Memory3Error } from '../../errors.ts';
import { arcChallenge } from './arc-challenge.ts';
import { arcEasy } from './arc-easy.ts';
import { bamboogle } from './bamboogle.ts';
import { boolq } from './boolq.ts';
import { cmmlu } from './cmmlu.ts';
import { cmrc2018 } from './cmrc2018.ts';
import { commonsenseqa } from './commonsenseqa.ts';
import { copa } from './copa.ts';
import { entityQuestions } from './entity-questions.ts';
import { gsm8k } from './gsm8k.ts';
import { halluqa } from './halluqa.ts';
import { haluevalGeneral, haluevalQa } from './halueval.ts';
import { hellaswag } from './hellaswag.ts';
import { jecQaCase, jecQaKnowledge } from './jec-qa.ts';
import { lambada } from './lambada.ts';
import { medmcqa } from './medmcqa.ts';
import { medqa } from './medqa.ts';
import { mmlu } from './mmlu.ts';
import { nqOpen } from './nq-open.ts';
import { openbookqa } from './openbookqa.ts';
import { piqa } from './piqa.ts';
import { pubmedqa } from './pubmedqa.ts';
import { sciq } from './sciq.ts';
import { siqa } from './siqa.ts';
import { squad } from './squad.ts';
import type { Task } from './task.ts';
import { triviaqa } from './triviaqa.ts';
import { truthfulqaMc1, truthfulqaMc2 } from './truthfulqa.ts';
import { webquestions } from './webquestions.ts';
import { wikitext2 } from './wikitext2.ts';
import { winogrande } from './winogrande.ts';
import { xquadEn } from './xquad-en.ts';
import { xquadZh } from './xquad-zh.ts';

export const tasks: readonly Task[] = [
  arcEasy,
  arcChallenge,
  hellaswag,
  winogrande,
  piqa,
  openbookqa,
  boolq,
  copa,
  commonsenseqa,
  siqa,
  sciq,
  mmlu,
  cmmlu,
  truthfulqaMc1,
  truthfulqaMc2,
  halluqa,
  lambada,
  wikitext2,
  squad,
  xquadEn,
  xquadZh,
  cmrc2018,
  nqOpen,
  triviaqa,
  webquestions,
  entityQuestions,
  bamboogle,
  gsm8k,
  haluevalQa,
  haluevalGeneral,
  jecQaKnowledge,
  jecQaCase,
  medqa,
  medmcqa,
  pubmedqa,
];

/** The task of a name. @throws Memory3Error "usage" that lists the names if there is none. */
export function taskNamed(name: string): Task {
  const task = tasks.find((one) => one.name === name);
  if (task !== undefined) return task;
  const names = tasks.map((one) => one.name).join(', ');
  throw new Memory3Error('usage', `There is no task "${name}"; there are ${names}.`);
}
