/** `memory3 bench quality`: what memory is worth to a model, against references as text and none at all. */
import { basename } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import { readSplitQuestions } from '../evaluate/held-out-questions.ts';
import { measureQuality, type QualityRow, type QualitySet } from '../evaluate/quality.ts';
import { type QuestionOptions, type QuestionSet, readQuestions } from '../evaluate/questions.ts';
import { seededRandom } from '../generate/sampling.ts';
import { type OpenedModel, openModel } from '../generate/workspace.ts';
import { referenceTokens } from '../memory/profile.ts';
import { heldOutSets } from '../train/conversion/examples.ts';
import { type QuestionSetName, questionSets } from '../train/conversion/question-sets.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';
import { addModelFlags, kept, type ModelFlags, modelOptions, number } from './options.ts';
import { showFetching } from './pull.ts';
import { formatBytes, type Terminal, table } from './terminal.ts';

/** Layers to compare where no adapter says which were trained. */
const untrainedChoices = 'first-half middle last-half all';

interface QualityFlags extends ModelFlags {
  readonly contexts?: string;
  readonly questions?: string;
  readonly data?: string;
  readonly heldOut?: boolean;
  readonly sets: string;
  readonly noneAdapter?: string;
  readonly ragAdapter?: string;
  readonly limit: number;
  readonly distractors: readonly number[];
  readonly seed: number;
  readonly choices?: string;
  readonly keep: readonly (number | 'all')[];
  readonly json?: boolean;
}

export function addQuality(bench: Command, interrupt: Interrupt): void {
  const command = newCommand(bench, 'quality', 'likelihood and answers with memory, with RAG, with neither', [
    'bench quality --contexts contexts.jsonl.gz --questions qas.jsonl.gz --limit 200',
    'bench quality --contexts c.jsonl --questions q.jsonl --choices "first-half middle" --keep 8 --keep all',
    'bench quality --data data --held-out --adapter memory --none-adapter none --rag-adapter text --distractors 0 --distractors 4',
  ])
    .option('--contexts <file>', 'JSON Lines with context_id and text, plain or gzip')
    .option('--questions <file>', 'JSON Lines with context_id, question, answers and answer_starts')
    .option('--data <folder>', 'data sets of the conversion, instead of two files')
    .option('--held-out', 'of --data, only what took no part in training (without it, only what did)')
    .option('--sets <names>', `of --data, with spaces between them: ${questionSets.join(' ')}`, heldOutSets.join(' '))
    .option('--none-adapter <path>', 'measures without references: trained alike, but without them')
    .option('--rag-adapter <path>', 'measures references as text: trained alike, but with their text')
    .addOption(number('--limit <n>', 'questions of each set', z.int().min(1)).default(100))
    .addOption(
      repeated(
        number(
          '--distractors <n>',
          'other references beside the right one; may be given again',
          z.int().min(0).max(63),
        ),
        [0],
      ),
    )
    .addOption(number('--seed <n>', 'orders the questions', z.int().min(0).max(0xffff_ffff)).default(0))
    .option(
      '--choices <layers>',
      `choices of memory layers, with spaces between them (default: those of the adapter, else ${untrainedChoices})`,
    )
    .addOption(repeated(kept('--keep <n>', 'kept tokens to compare; may be given again'), [8, 16, 32, 64, 'all']));
  addModelFlags(command).action(async (flags: QualityFlags) => {
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    using fetching = showFetching(terminal, signal, flags.offline);
    await using opened = await openModel({ ...modelOptions(flags), fetch: fetching.options });
    await using closing = new AsyncDisposableStack();
    const baseline = async (adapter: string | undefined) => {
      if (adapter === undefined) return opened.model;
      return closing.use(await openModel({ ...modelOptions(flags), adapter, fetch: fetching.options })).model;
    };
    const models = {
      none: await baseline(flags.noneAdapter),
      rag: await baseline(flags.ragAdapter),
      memory: opened.model,
    };
    const sets = readSets(flags, opened, terminal);
    const choices = flags.choices ?? (opened.adapter === null ? untrainedChoices : opened.profile.layers.join(','));
    const { header, scoring, storage } = opened.profile;
    const rows: QualityRow[] = [];
    const measuring = measureQuality(models, opened.tokenizer, sets, {
      layers: wordsOf(choices),
      kept: flags.keep,
      references: flags.distractors.map((count) => count + 1),
      scoring,
      storage,
      header,
      repeatPrompt: opened.repeatPrompt,
      seed: flags.seed,
    });
    for await (const row of measuring) {
      signal.throwIfAborted();
      rows.push(row);
      if (terminal.json) terminal.result(row, () => '');
      else terminal.notice(`${row.set} ${row.mode} ${row.layers ?? ''} ${row.kept ?? ''}: nll ${row.nll.toFixed(3)}`);
    }
    if (!terminal.json) terminal.result(rows, () => describeQuality(rows));
  });
}

function wordsOf(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

/** The questions that the flags name; says how many were left out. */
function readSets(flags: QualityFlags, { tokenizer, profile }: OpenedModel, terminal: Terminal): QualitySet[] {
  const options = (): QuestionOptions => ({
    limit: flags.limit,
    distractors: Math.max(...flags.distractors),
    random: seededRandom(flags.seed),
    maxTokens: referenceTokens - profile.header.length,
  });
  const named = (name: string, { items, cut, unanswerable }: QuestionSet): QualitySet => {
    terminal.notice(
      `${name}: ${items.length} questions; left out: ${cut} whose answer is cut, ${unanswerable} without an answer`,
    );
    return { name, items };
  };
  const { contexts, questions, data } = flags;
  if (data !== undefined && contexts === undefined && questions === undefined) {
    const split = flags.heldOut === true ? 'held-out' : 'training';
    return wordsOf(flags.sets).map((set) =>
      named(set, readSplitQuestions(data, knownSet(set), split, tokenizer, options())),
    );
  }
  if (data === undefined && contexts !== undefined && questions !== undefined) {
    return [named(basename(questions), readQuestions(contexts, questions, tokenizer, options()))];
  }
  throw new Memory3Error('usage', 'Questions come from either --data or both --contexts and --questions.');
}

function knownSet(name: string): QuestionSetName {
  const set = questionSets.find((one) => one === name);
  if (set !== undefined) return set;
  throw new Memory3Error('usage', `There is no data set "${name}"; there are ${questionSets.join(', ')}.`);
}

/** A flag that may be given again; the first one replaces the defaults. */
function repeated<T>(option: ReturnType<typeof number>, defaults: readonly T[]) {
  const parse = option.parseArg as (value: string, earlier: unknown) => T;
  return option
    .default(defaults)
    .argParser((value: string, earlier: readonly T[]) => [
      ...(earlier === defaults ? [] : earlier),
      parse(value, undefined),
    ]);
}

function describeQuality(rows: readonly QualityRow[]): string {
  return table(
    [
      'set',
      'questions',
      'mode',
      'layers',
      'kept',
      'references',
      'nll',
      'share',
      '95 %',
      'exact',
      'f1',
      'bytes/reference',
    ],
    rows.map((row) => [
      row.set,
      String(row.items),
      row.mode,
      row.layers ?? '',
      String(row.kept ?? ''),
      String(row.references),
      row.nll.toFixed(3),
      row.share?.value.toFixed(3) ?? '',
      row.share === null ? '' : `${row.share.low.toFixed(2)} to ${row.share.high.toFixed(2)}`,
      row.exact.toFixed(3),
      row.f1.toFixed(3),
      row.bytesPerReference === null ? '' : formatBytes(row.bytesPerReference),
    ]),
  );
}
