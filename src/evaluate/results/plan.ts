/**
 * What is measured for docs/results.md, in this order: the paper's tables in our form, for the default model as it comes
 * ("base") and with the adapter that ships ("converted"). Numbers of the paper are its own and stand here as it has them.
 */
import type { PlanOptions } from '../banks/plan.ts';
import type { BankKind } from '../banks/sources.ts';
import type { MetricName } from '../tasks/task.ts';

export const modelNames = ['base', 'converted'] as const;
export type ModelName = (typeof modelNames)[number];

/** Tasks in modes, for both models. */
export interface TasksPart {
  readonly kind: 'tasks';
  readonly name: string;
  readonly title: string;
  /** One sentence: what is asked. */
  readonly about: string;
  readonly bank: BankKind;
  readonly tasks: readonly [string, ...string[]];
  readonly modes: readonly [string, ...string[]];
  /** The base model has no others; default all. */
  readonly baseModes?: readonly [string, ...string[]];
  /** Pairs of modes, the first held against the second. */
  readonly pairs: readonly (readonly [string, string])[];
  /** Metrics that are shown of a task that has them; of other tasks, and by default, its first. */
  readonly metrics?: readonly MetricName[];
  /** The paper's own numbers, sentences. */
  readonly paper: readonly string[];
  /** The paper's own scores by our tasks' names, in percent. */
  readonly paperScores?: Readonly<Record<string, number>>;
}

/** Tasks of another part again in one mode, for the converted model, with other limits of overlap (Eq. 6). */
export interface OverlapPart {
  readonly kind: 'overlap';
  readonly name: string;
  readonly title: string;
  readonly about: string;
  /** Where the paper's threshold was measured. */
  readonly of: string;
  readonly tasks: readonly [string, ...string[]];
  readonly mode: string;
  /** null: no filter. */
  readonly thresholds: readonly (number | null)[];
  readonly paper: readonly string[];
}

/** `memory3 bench throughput` of the converted model. */
export interface ThroughputPart {
  readonly kind: 'throughput';
  readonly name: string;
  readonly title: string;
  readonly about: string;
  readonly batches: readonly number[];
  /** Numbers of references as text. */
  readonly references: readonly number[];
  readonly promptTokens: number;
  readonly newTokens: number;
  readonly rounds: number;
  readonly llamaCpp: boolean;
  readonly paper: readonly string[];
}

export type Part = TasksPart | OverlapPart | ThroughputPart;

export interface ResultsPlan {
  /** Items of each task, and of single ones. */
  readonly limit: number;
  readonly limits: Readonly<Record<string, number>>;
  /** How much of which source the banks hold. */
  readonly banks: Readonly<Record<BankKind, PlanOptions>>;
  readonly parts: readonly Part[];
}

const recalled = ['none', 'memory:5', 'rag:5'] as const;
const recalledPairs = [
  ['memory:5', 'none'],
  ['rag:5', 'none'],
  ['memory:5', 'rag:5'],
] as const;

const general: TasksPart = {
  kind: 'tasks',
  name: 'general',
  title: 'General abilities (Tables 16 and 24)',
  about:
    'Multiple choice, the last word of a text (lambada) and perplexity (wikitext2), without solved items (0-shot).',
  bank: 'general',
  tasks: [
    ...(['arc_easy', 'arc_challenge', 'hellaswag', 'winogrande', 'piqa', 'openbookqa', 'boolq', 'copa'] as const),
    ...(['commonsenseqa', 'siqa', 'sciq', 'mmlu', 'cmmlu', 'lambada', 'wikitext2'] as const),
  ],
  modes: ['none', 'memory:5', 'memory:5:kept=8', 'rag:5'],
  baseModes: recalled,
  pairs: [...recalledPairs, ['memory:5:kept=8', 'none'], ['memory:5:kept=8', 'memory:5']],
  paper: [
    '0-shot (Table 24): 54.54 without memory, 58.23 with.',
    'Few-shot (Table 16): 60.80 without memory, 63.31 with, 63.33 with quantised memory.',
  ],
};

const answers: TasksPart = {
  kind: 'tasks',
  name: 'answers',
  title: 'Written answers',
  about:
    'Questions that are answered in words, greedily. The paper has no such table; here references can hold the answer itself. The columns "own passage" give each item the passage of its data set instead of recalled references.',
  bank: 'general',
  tasks: [
    ...(['squad', 'xquad_en', 'xquad_zh', 'cmrc2018', 'nq_open', 'triviaqa', 'webquestions'] as const),
    ...(['entity_questions', 'bamboogle', 'gsm8k'] as const),
  ],
  modes: [...recalled, 'memory:gold:5', 'rag:gold:5'],
  baseModes: recalled,
  pairs: [...recalledPairs, ['memory:gold:5', 'none'], ['memory:gold:5', 'rag:gold:5']],
  metrics: ['f1', 'contains'],
  paper: [],
};

const hallucination: TasksPart = {
  kind: 'tasks',
  name: 'hallucination',
  title: 'Hallucination (Table 19)',
  about: 'Choosing what is true, and telling whether an answer is made up.',
  bank: 'general',
  tasks: ['truthfulqa_mc1', 'truthfulqa_mc2', 'halueval_qa', 'halueval_general', 'halluqa'],
  modes: recalled,
  pairs: recalledPairs,
  paper: [
    '48.60 on average over HaluEval-QA, HaluEval-Dialogue (53.91; here HaluEval-General), TruthfulQA MC1 and MC2, and HalluQA.',
  ],
  paperScores: { truthfulqa_mc1: 38.8, truthfulqa_mc2: 57.72, halueval_qa: 56.61, halluqa: 35.96 },
};

const professional: TasksPart = {
  kind: 'tasks',
  name: 'professional',
  title: 'Professional tasks (Table 20)',
  about: 'Law and medicine, with a bank of law and medicine, against RAG with 3, 5 and 7 references.',
  bank: 'professional',
  tasks: ['jec_qa_knowledge', 'jec_qa_case', 'medqa', 'medmcqa', 'pubmedqa'],
  modes: ['none', 'memory:5', 'rag:3', 'rag:5', 'rag:7'],
  baseModes: recalled,
  pairs: [...recalledPairs, ['memory:5', 'rag:3'], ['memory:5', 'rag:7']],
  paper: ['JEC-QA 39.38 and medicine (MED) 56.22, with 5 memories.'],
};

const overlap: OverlapPart = {
  kind: 'overlap',
  name: 'overlap',
  title: 'References that overlap the question (Table 23)',
  about: 'The converted model with five memories, where references that overlap their item by more are left out.',
  of: 'general',
  tasks: ['arc_challenge', 'hellaswag', 'winogrande', 'sciq', 'mmlu'],
  mode: 'memory:5',
  thresholds: [0.8, null],
  paper: [],
};

const throughput: ThroughputPart = {
  kind: 'throughput',
  name: 'throughput',
  title: 'Throughput (Table 21)',
  about:
    "Tokens written per second; memories are read from the bank's file, with the RAM cache off and none used twice (`memory3 bench throughput`).",
  batches: [1, 32],
  references: [1, 3, 5],
  promptTokens: 128,
  newTokens: 128,
  rounds: 3,
  llamaCpp: true,
  paper: [
    'Batch 32, one A800: 733 tokens/s with recall, 1131 without (0.648).',
    'A device with a remote bank, batch 1: 27.6 and 44.36.',
    'Other models with RAG, of without: MiniCPM-2B 501 of 974, Llama-2-7B 383 of 1005.',
  ],
};

const many = 200;

export const resultsPlan: ResultsPlan = {
  limit: 50,
  limits: {
    ...{ arc_easy: many, arc_challenge: many, hellaswag: many, piqa: many, boolq: many, mmlu: many },
    ...{ truthfulqa_mc1: many, truthfulqa_mc2: many, halluqa: many, squad: many, nq_open: many, medmcqa: many },
  },
  banks: {
    // All 510 contracts are 70 % of the text, and hardly any of the tasks is about contracts.
    general: { limits: { cuad: 50 } },
    professional: {},
  },
  parts: [general, answers, hallucination, professional, overlap, throughput],
};

/** The same with hardly anything in it, to see whether all of it works. */
export function tinyPlan({ banks, parts }: ResultsPlan): ResultsPlan {
  const few: PlanOptions = { limit: 2 };
  const sizes = { batches: [1, 2], references: [1], promptTokens: 20, newTokens: 3, rounds: 1, llamaCpp: false };
  return {
    limit: 2,
    limits: {},
    banks: { general: { ...banks.general, ...few, limits: {} }, professional: { ...banks.professional, ...few } },
    parts: parts.map((part) => (part.kind === 'throughput' ? { ...part, ...sizes } : part)),
  };
}

/** One evaluation. */
export interface PlannedRun {
  /** Its folder's name. */
  readonly name: string;
  readonly part: string;
  readonly model: ModelName;
  readonly bank: BankKind;
  readonly tasks: readonly [string, ...string[]];
  readonly modes: readonly [string, ...string[]];
  /** Greatest overlap; undefined: the paper's. */
  readonly overlap?: number | null;
}

/** The evaluations of a part, in order. */
export function runsOf(part: Part, plan: ResultsPlan): PlannedRun[] {
  if (part.kind === 'throughput') return [];
  if (part.kind === 'tasks') {
    const { name, bank, tasks } = part;
    return modelNames.map((model) => {
      return { name: `${name}-${model}`, part: name, model, bank, tasks, modes: modesOf(part, model) };
    });
  }
  const other = tasksPart(plan, part.of);
  return part.thresholds.map((threshold) => ({
    name: overlapRun(part, threshold),
    part: part.name,
    model: 'converted',
    bank: other.bank,
    tasks: part.tasks,
    modes: [part.mode],
    overlap: threshold,
  }));
}

/** The modes of a part that a model is measured in. */
export function modesOf({ modes, baseModes = modes }: TasksPart, model: ModelName): TasksPart['modes'] {
  return model === 'base' ? baseModes : modes;
}

export function overlapRun({ name }: OverlapPart, threshold: number | null): string {
  return `${name}-${threshold ?? 'none'}-converted`;
}

function tasksPart({ parts }: ResultsPlan, name: string): TasksPart {
  const part = parts.find((one) => one.name === name);
  if (part?.kind !== 'tasks') throw new Error(`There is no part ${name} with tasks.`);
  return part;
}
