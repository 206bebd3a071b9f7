/**
 * What a task is: a file of a data folder, and how its lines become items that a model can be measured on.
 *
 *   choice        which of several texts is likelier behind a prompt
 *   continuation  how likely one text is, and whether greedy decoding writes it
 *   perplexity    how likely a whole text is
 *   generated     what the model writes behind a prompt, held against right answers
 *
 * A task is one file of this folder with a call of `defineTask`, and a line in `all.ts`; nothing else knows its name.
 */
import { join } from 'node:path';
import type { z } from 'zod';
import { Memory3Error } from '../../errors.ts';
import { seededRandom } from '../../generate/sampling.ts';
import { readJsonLines } from '../../json-lines.ts';
import { shuffle } from '../../train/draw.ts';

interface AnyForm {
  /** What references are searched with: the question, without the prompt's words. */
  readonly query: string;
  /** Shots come from the same group: a subject. Default: all are one. */
  readonly group?: string;
}

/** One or more prompts, with what might stand behind each. */
export interface ChoiceForm extends AnyForm {
  readonly prompts: readonly {
    readonly text: string;
    /** Each as it stands behind the text, with its space. */
    readonly continuations: readonly string[];
  }[];
  /** Which are right, counted through all prompts. */
  readonly right: readonly number[];
  /** The right ones as a reference could say them; none where they are letters, or yes and no. */
  readonly answers?: readonly string[];
  /** What every prompt begins with, if that is the item's own passage: left out where a reference says it. */
  readonly passage?: string;
}

export interface ContinuationForm extends AnyForm {
  readonly prompt: string;
  /** With its space. */
  readonly continuation: string;
}

export interface TextForm extends AnyForm {
  readonly text: string;
}

export interface GeneratedForm extends AnyForm {
  readonly prompt: string;
  /** All right ones; none for a question that has no answer. */
  readonly answers: readonly string[];
  /** The answer as a shot shows it, with its space. */
  readonly demonstration: string;
}

interface Forms {
  readonly choice: ChoiceForm;
  readonly continuation: ContinuationForm;
  readonly perplexity: TextForm;
  readonly generated: GeneratedForm;
}

interface Metrics {
  readonly choice: 'accuracy' | 'normalised-accuracy' | 'mc2';
  readonly continuation: 'accuracy' | 'perplexity';
  readonly perplexity: 'perplexity';
  readonly generated: 'exact' | 'f1' | 'contains';
}

export type TaskKind = keyof Forms;
export type MetricName = Metrics[TaskKind];

interface KindSettings {
  readonly choice: object;
  readonly continuation: object;
  readonly perplexity: {
    /** So many of a text's first tokens are read. */
    readonly tokens: number;
  };
  readonly generated: {
    readonly maxTokens: number;
    /** Ends the answer. */
    readonly stop: string;
    /** The answer proper, in what the model wrote; default all of it. */
    readonly extract?: (written: string) => string;
  };
}

/** Every line of a data set says which one it is. */
export interface AnyLine {
  readonly id: string | number;
}

/** A file of passages that the lines of a task point into. */
export interface PassageFile<Line> {
  /** In the data folder. */
  readonly file: string;
  readonly passage: z.ZodType<{ readonly key: string; readonly text: string }>;
  /** The key of a line's passage; the file need not have it. */
  readonly key: (line: Line) => string;
}

/** Where the passages are that belong to an item: in its line, or in a file of their own. */
export type GoldPassages<Line> = ((line: Line) => readonly string[]) | PassageFile<Line>;

type Definition<Kind extends TaskKind, Line extends AnyLine> = KindSettings[Kind] & {
  /** What `--tasks` calls it. */
  readonly name: string;
  readonly kind: Kind;
  /** In the data folder. */
  readonly file: string;
  readonly line: z.ZodType<Line>;
  /** The item of a line, or several of them, or none. */
  readonly form: (line: Line) => Forms[Kind] | readonly Forms[Kind][];
  /** The first one is what a summary leads with. */
  readonly metrics: readonly [Metrics[Kind], ...Metrics[Kind][]];
  /** Where shots come from: a file of lines like its own, the file itself, or nowhere: a task that has none. */
  readonly shots: string | 'own' | null;
  /** The items' own passages, for the modes that give them; a task whose items have none leaves it out. */
  readonly gold?: GoldPassages<Line>;
  /** Lines that the adapter that ships was trained on, or may have been; default none (`train/conversion/`). */
  readonly trained?: 'all' | ((line: Line) => boolean);
};

/** A form, and the name that it has in reports. */
export type ItemOf<Kind extends TaskKind> = Forms[Kind] & { readonly kind: Kind; readonly id: string };
export type Item = { [Kind in TaskKind]: ItemOf<Kind> }[TaskKind];

/** Passages of items by their ids; an item without any is not there. */
export type PassagesById = ReadonlyMap<string, readonly string[]>;

export interface TaskGold {
  /** In the data folder; null where passages stand in the task's own file. */
  readonly file: string | null;
  /** @throws Memory3Error "not-found" or "damaged", naming file and line. */
  readonly read: (folder: string) => PassagesById;
}

type TaskOf<Kind extends TaskKind> = Omit<Definition<Kind, AnyLine>, 'line' | 'form' | 'gold' | 'trained'> &
  KindSettings[Kind] & {
    /** What of it the adapter that ships was trained on. */
    readonly trained: 'all' | 'some' | 'none';
    /**
     * @param heldOut without the lines that were trained on, unless they are all
     * @throws Memory3Error "not-found" or "damaged", naming file and line or item.
     */
    readonly read: (path: string, heldOut?: boolean) => ItemOf<Kind>[];
    /** Null for a task whose items have no passages of their own. */
    readonly gold: TaskGold | null;
  };

/** A task of any kind. */
export type Task = { [Kind in TaskKind]: TaskOf<Kind> }[TaskKind];

/** Makes a task; see the files of this folder for examples. */
export function defineTask<Kind extends TaskKind, Line extends AnyLine>(
  definition: Definition<Kind, Line>,
): TaskOf<Kind> {
  const { line, form, gold, trained, ...task } = definition;
  const itemsOf = (one: Line): ItemOf<Kind>[] => {
    const formed = form(one);
    const forms = (Array.isArray(formed) ? formed : [formed]) as readonly Forms[Kind][];
    const idOf = (index: number) => (forms.length === 1 ? `${one.id}` : `${one.id}/${index}`);
    return forms.map((each, index) => ({ ...each, kind: definition.kind, id: idOf(index) }));
  };
  const read = (path: string, heldOut = false): ItemOf<Kind>[] => {
    const all = withDistinctIds(readJsonLines(path, line));
    const wanted = heldOut && typeof trained === 'function' ? all.filter((one) => !trained(one)) : all;
    const items = wanted.flatMap(itemsOf);
    for (const item of items) checkRight(item as Item, path);
    return items;
  };
  const readGold = (folder: string, of: GoldPassages<Line>): PassagesById => {
    const passagesOf = typeof of === 'function' ? of : passagesIn(of, folder);
    const entries = withDistinctIds(readJsonLines(join(folder, definition.file), line)).flatMap((one) => {
      const passages = passagesOf(one).filter((text) => text.trim() !== '');
      return passages.length === 0 ? [] : itemsOf(one).map(({ id }) => [id, passages] as const);
    });
    return new Map(entries);
  };
  const taskGold: TaskGold | null =
    gold === undefined
      ? null
      : { file: typeof gold === 'function' ? null : gold.file, read: (folder) => readGold(folder, gold) };
  const whatTrained = trained === undefined ? 'none' : trained === 'all' ? 'all' : 'some';
  return { ...task, trained: whatTrained, read, gold: taskGold } as unknown as TaskOf<Kind>;
}

/** Refuses a choice whose right ones are not among its own: it would be wrong whatever the model says. */
function checkRight(item: Item, path: string): void {
  if (item.kind !== 'choice') return;
  const count = item.prompts.reduce((sum, { continuations }) => sum + continuations.length, 0);
  if (item.right.length > 0 && item.right.every((index) => index < count)) return;
  throw new Memory3Error('damaged', `${path}: the item ${item.id} has no right answer among its ${count} choices.`);
}

/** Items are told apart by their ids, in references and in scores: the second line with the id "x" is "x#2". */
function withDistinctIds<Line extends AnyLine>(all: readonly Line[]): Line[] {
  const counts = new Map<string, number>();
  return all.map((one) => {
    const count = (counts.get(`${one.id}`) ?? 0) + 1;
    counts.set(`${one.id}`, count);
    return count === 1 ? one : { ...one, id: `${one.id}#${count}` };
  });
}

/** The passage of each line, or none. */
function passagesIn<Line>(of: PassageFile<Line>, folder: string): (line: Line) => readonly string[] {
  const texts = new Map(readJsonLines(join(folder, of.file), of.passage).map(({ key, text }) => [key, text]));
  return (line) => {
    const text = texts.get(of.key(line));
    return text === undefined ? [] : [text];
  };
}

/** What of a task is measured. */
export interface TaskMaterial {
  readonly items: readonly Item[];
  /** What stands before the items of each group; no entry where nothing does. */
  readonly shots: ReadonlyMap<string, string>;
  /** The items' own passages; null where nobody wants them or the task has none. */
  readonly gold: PassagesById | null;
}

export interface MaterialOptions {
  /** Most items, drawn by `seed`. */
  readonly limit: number;
  /** Solved items before each prompt. */
  readonly shots: number;
  readonly seed: number;
  /** Whether the items' own passages are wanted. */
  readonly gold?: boolean;
  /** Only items that the adapter that ships was not trained on, of tasks that have some. */
  readonly heldOut?: boolean;
}

/**
 * Reads a task's items and shots.
 * @throws Memory3Error "usage" if there are fewer shots than asked for or no items; "not-found" or "damaged", naming file and line or item.
 */
export function readMaterial(
  task: Task,
  folder: string,
  { limit, shots: wanted, seed, gold: isGoldWanted = false, heldOut = false }: MaterialOptions,
): TaskMaterial {
  const draw = (file: string): Item[] => shuffle<Item>(task.read(join(folder, file), heldOut), seededRandom(seed));
  const drawn = draw(task.file);
  const count = task.shots === null ? 0 : wanted;
  const isOwn = task.shots === 'own';
  const others = task.shots === null || isOwn || count === 0 ? [] : draw(task.shots);
  const source = isOwn ? drawn.slice(0, count) : others;
  // Nor what a shot asks too, as HaluEval asks twice about a question: the shot would answer it.
  const left = isOwn ? drawn.slice(count).filter(({ query }) => source.every((shot) => shot.query !== query)) : drawn;
  const items = left.slice(0, limit);
  if (items.length === 0) {
    throw new Memory3Error('usage', `${join(folder, task.file)} has no item of ${task.name} to measure with.`);
  }
  const gold = isGoldWanted && task.gold !== null ? task.gold.read(folder) : null;
  if (count === 0) return { items, shots: new Map(), gold };
  const groups = new Set(items.map(({ group = '' }) => group));
  const shots = new Map([...groups].map((group) => [group, shotsOf(task.name, source, group, count)]));
  return { items, shots, gold };
}

/** Solved items of a group, an empty line behind each. */
function shotsOf(task: string, source: readonly Item[], group: string, count: number): string {
  const fitting = source.filter((item) => (item.group ?? '') === group).slice(0, count);
  if (fitting.length === count) return fitting.map((item) => `${solved(item)}\n\n`).join('');
  const where = group === '' ? task : `${task}, ${group}`;
  throw new Memory3Error('usage', `There are ${fitting.length} shots for ${where}, not ${count}.`, {
    remedy: 'Ask for fewer (--shots).',
  });
}

/** An item with its right answer. */
function solved(item: Item): string {
  switch (item.kind) {
    case 'choice': {
      const all = item.prompts.flatMap(({ text, continuations }) => continuations.map((one) => `${text}${one}`));
      return all[item.right[0] as number] as string;
    }
    case 'continuation':
      return `${item.prompt}${item.continuation}`;
    case 'perplexity':
      return item.text;
    case 'generated':
      return `${item.prompt}${item.demonstration}`;
  }
}

/** Everything that an item says, its choices included: what a reference must not repeat. */
export function textOf(item: Item): string {
  if (item.kind === 'generated') return item.prompt;
  if (item.kind !== 'choice') return solved(item);
  return item.prompts.map(({ text, continuations }) => [text, ...continuations].join('')).join('\n');
}
