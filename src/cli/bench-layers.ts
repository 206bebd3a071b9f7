/** `memory3 bench layers`: which layers should be memory layers, and how few of them for memories of a given size. */
import { type Command, Option } from 'commander';
import { z } from 'zod';
import { chooseLayers, type LayerDecision, layerCandidates } from '../evaluate/choose-layers.ts';
import { type FewerLayersReport, fewerLayers } from '../evaluate/fewer-layers.ts';
import type { QualityRow } from '../evaluate/quality.ts';
import type { Interval } from '../evaluate/share.ts';
import { readSurvey } from '../evaluate/survey-log.ts';
import { carryingRange } from '../evaluate/survey-report.ts';
import { openModel } from '../generate/workspace.ts';
import { referenceTokens } from '../memory/profile.ts';
import { addQuestionFlags, type QuestionFlags, readQuestionSets } from './bench-questions.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';
import {
  addLayersFlag,
  addPlainModelFlags,
  addStorageFlags,
  modelOptions,
  number,
  type PlainModelFlags,
  type ProfileFlags,
  refuseIdle,
} from './options.ts';
import { showFetching } from './pull.ts';
import { formatBytes, table } from './terminal.ts';

interface LayersFlags extends PlainModelFlags, Omit<ProfileFlags, 'kept'>, QuestionFlags {
  readonly survey?: string;
  readonly fewer?: number;
  readonly json?: boolean;
}

export function addLayers(bench: Command, interrupt: Interrupt): void {
  const command = newCommand(bench, 'layers', 'memory with several choices of layers, and which of them is best', [
    'bench layers --contexts contexts.jsonl.gz --questions qas.jsonl.gz --limit 60',
    'bench layers --data data --sets squad-v1.1 --survey heads.jsonl --json',
    'bench layers --data data --held-out --limit 20 --fewer 8',
  ])
    .addOption(
      new Option('--survey <file>', 'log of `bench heads`: its range of long-range heads is measured too').conflicts(
        'fewer',
      ),
    )
    .addOption(
      number(
        '--fewer <n>',
        'instead: of the memory layers (--layers) those that are needed most, for the bytes of n tokens in each of all',
        z.int().min(1).max(referenceTokens),
      ),
    );
  const whole = addStorageFlags(addLayersFlag(addPlainModelFlags(addQuestionFlags(command))));
  whole.action(async (flags: LayersFlags) => {
    if (flags.fewer === undefined) refuseIdle(command, ['layers'], 'several choices are measured', 'ask for --fewer');
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    using fetching = showFetching(terminal, signal, flags.offline);
    await using opened = await openModel({ ...modelOptions(flags), fetch: fetching.options });
    const { model, tokenizer, file, profile, repeatPrompt } = opened;
    const carrying =
      flags.survey === undefined
        ? undefined
        : carryingRange(readSurvey(flags.survey, await file.fingerprint()), model.config).layers;
    const { scoring, storage, header } = profile;
    const sets = readQuestionSets(flags, opened, 0, terminal);
    const options = {
      ...{ scoring, storage, header, repeatPrompt, signal },
      seed: flags.seed,
      onRow(row: QualityRow) {
        if (terminal.json) terminal.result(row, () => '');
        const { set, mode, layers: choice, kept, nll } = row;
        terminal.notice(`${set} ${mode} ${choice ?? ''} ${kept ?? ''}: nll ${nll.toFixed(3)}`);
      },
    };
    if (flags.fewer !== undefined) {
      const { layers } = profile;
      const report = await fewerLayers(model, tokenizer, sets, { ...options, layers, tokens: flags.fewer });
      terminal.result({ kind: 'fewer', ...report }, () => describeFewer(report));
      return;
    }
    const candidates = layerCandidates(model.config.layers, carrying);
    const decision = await chooseLayers(model, tokenizer, sets, candidates, options);
    terminal.result({ kind: 'decision', ...decision }, () => describeDecision(decision));
  });
}

function describeDecision({ chosen, candidates }: LayerDecision): string {
  const rows = candidates.map(({ choice, layers, nll, behind, withinNoise }) => [
    choice,
    String(layers.length),
    nll.toFixed(3),
    behind.value.toFixed(3),
    `${behind.low.toFixed(2)} to ${behind.high.toFixed(2)}`,
    withinNoise ? 'yes' : 'no',
  ]);
  const head = ['layers', 'count', 'nll', 'behind the best', '95 %', 'within noise'];
  return `${table(head, rows)}\n\nChosen: ${chosen.choice} (layers ${chosen.layers.join(',')})`;
}

function describeFewer({ kept, needed, sizes, best }: FewerLayersReport): string {
  const interval = ({ low, high }: Interval) => `${low.toFixed(2)} to ${high.toFixed(2)}`;
  const costs = needed.map(({ layer, cost }) => [String(layer), cost.value.toFixed(3), interval(cost)]);
  const rows = sizes.map(({ layers, kept: tokens, nll, behind, row }) => [
    layers.join(','),
    String(tokens),
    row.bytesPerReference === null ? '' : formatBytes(row.bytesPerReference),
    nll.toFixed(3),
    row.share?.value.toFixed(3) ?? '',
    interval(behind),
  ]);
  return [
    table([`layer left out (${kept} kept)`, 'costs nll', '95 %'], costs),
    table(['layers', 'kept', 'bytes/reference', 'nll', 'share', 'behind all, 95 %'], rows),
    `Likeliest: --layers ${best.layers} --kept ${best.kept}`,
  ].join('\n\n');
}
