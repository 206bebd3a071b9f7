/** `memory3 bench quality`: what memory is worth to a model, against references as text and none at all. */
import { type Command, Option } from 'commander';
import { z } from 'zod';
import { measureQuality, type QualityRow } from '../evaluate/quality.ts';
import { openModel } from '../generate/workspace.ts';
import { addQuestionFlags, type QuestionFlags, readQuestionSets, wordsOf } from './bench-questions.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';
import {
  addPlainModelFlags,
  addProfileFlags,
  kept,
  modelOptions,
  number,
  type PlainModelFlags,
  type ProfileFlags,
} from './options.ts';
import { showFetching } from './pull.ts';
import { formatBytes, table } from './terminal.ts';

/** Layers to compare where no adapter says which were trained. */
const untrainedChoices = 'first-half middle last-half all';
/** Numbers of kept tokens to compare. */
const comparedCounts = [8, 16, 32, 64, 'all'] as const;

interface QualityFlags extends PlainModelFlags, ProfileFlags, QuestionFlags {
  readonly noneAdapter?: string;
  readonly ragAdapter?: string;
  readonly distractors: readonly number[];
  readonly choices?: string;
  readonly keep?: readonly (number | 'all')[];
  readonly json?: boolean;
}

export function addQuality(bench: Command, interrupt: Interrupt): void {
  const command = newCommand(bench, 'quality', 'likelihood and answers with memory, with RAG, with neither', [
    'bench quality --contexts contexts.jsonl.gz --questions qas.jsonl.gz --limit 200',
    'bench quality --contexts c.jsonl --questions q.jsonl --choices "first-half middle" --keep 8 --keep all',
    'bench quality --data data --held-out --adapter memory --none-adapter none --rag-adapter text --distractors 0 --distractors 4',
  ])
    .option('--none-adapter <path>', 'measures without references: trained alike, but without them')
    .option('--rag-adapter <path>', 'measures references as text: trained alike, but with their text')
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
    .addOption(
      new Option(
        '--choices <layers>',
        `choices of memory layers, with spaces between them (default: --layers, else those of the adapter, else ${untrainedChoices})`,
      ).conflicts('layers'),
    )
    .addOption(
      repeated(
        kept(
          '--keep <n>',
          `kept tokens to compare; may be given again (default: --kept, else ${comparedCounts}, or those of summary tokens)`,
        ),
      ).conflicts('kept'),
    );
  addProfileFlags(addPlainModelFlags(addQuestionFlags(command))).action(async (flags: QualityFlags) => {
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    using fetching = showFetching(terminal, signal, flags.offline);
    await using opened = await openModel({ ...modelOptions(flags), fetch: fetching.options });
    await using closing = new AsyncDisposableStack();
    const baseline = async (adapter: string | undefined) => {
      if (adapter === undefined) return opened.model;
      // It reads no memories, so what was asked for about them is not its concern.
      const options = { ...modelOptions(flags), profile: {}, adapter, fetch: fetching.options };
      return closing.use(await openModel(options)).model;
    };
    const models = {
      none: await baseline(flags.noneAdapter),
      rag: await baseline(flags.ragAdapter),
      memory: opened.model,
    };
    const sets = readQuestionSets(flags, opened, Math.max(...flags.distractors), terminal);
    const trained = opened.adapter === null ? untrainedChoices : opened.profile.layers.join(',');
    // One choice may have spaces: "0, 1".
    const choices = flags.layers === undefined ? wordsOf(flags.choices ?? trained) : [flags.layers];
    const { header, scoring, storage, keptTokens } = opened.profile;
    const isOne = flags.kept !== undefined || scoring === 'summary';
    const keep = flags.keep ?? (isOne ? [keptTokens] : comparedCounts);
    const rows: QualityRow[] = [];
    const measuring = measureQuality(models, opened.tokenizer, sets, {
      compared: choices.map((layers) => ({ layers, kept: keep })),
      references: flags.distractors.map((count) => count + 1),
      scoring,
      storage,
      header,
      repeatPrompt: opened.repeatPrompt,
      seed: flags.seed,
      signal,
    });
    for await (const row of measuring) {
      rows.push(row);
      if (terminal.json) terminal.result(row, () => '');
      else terminal.notice(`${row.set} ${row.mode} ${row.layers ?? ''} ${row.kept ?? ''}: nll ${row.nll.toFixed(3)}`);
    }
    if (!terminal.json) terminal.result(rows, () => describeQuality(rows));
  });
}

/** A flag that may be given again; the first one replaces the defaults. */
function repeated<T>(option: ReturnType<typeof number>, defaults?: readonly T[]) {
  const parse = option.parseArg as (value: string, earlier: unknown) => T;
  return option
    .default(defaults, defaults?.join(' '))
    .argParser((value: string, earlier: readonly T[] = []) => [
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
