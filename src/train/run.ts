/**
 * A training run that can be trusted: a loop over steps in a folder (`run-folder.ts`).
 *
 * **Going on.** A checkpoint holds all that decides what follows. A process that is killed, interrupted or loses its disk
 * loses the steps since the last checkpoint and nothing else: the next one goes on from there with losses bit-identical
 * to those of a run that was never disturbed, and leaves the same log but for times and its "resumed" lines.
 *
 * **Divergence** (paper 3.6). If a number stops being finite or the loss explodes (`divergence.ts`), the run goes back to
 * the last good checkpoint and on with a smaller rate. Good is one that was written while losses were in bounds; tensors
 * that are not all finite are never written. The one gone back to is written again with the new rate, so that no later
 * resume forgets it.
 */
import type { z } from 'zod';
import { checkOptions, Memory3Error } from '../errors.ts';
import { brokenTensor, type Checkpoint, type Progress } from './checkpoint.ts';
import { judge, noLosses } from './divergence.ts';
import type { LoggedEvent, RunEvent } from './log.ts';
import { checkRunFolder, openRunFolder, type RunFolder, type RunSettings, runSettingsSchema } from './run-folder.ts';
import { learningRate } from './schedule.ts';
import type { Trainable, TrainingState } from './trainable.ts';

/** `steps`, `schedule` and what else `runSettingsSchema` knows, and: */
export interface RunOptions extends z.input<typeof runSettingsSchema> {
  /** Made if it is not there; a run in it is gone on with. */
  readonly folder: string;
  /** JSON: all that decides what the trainable computes. A run is refused to go on with another. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Fields of `config` that may change all the same: "threads", "data.workers". */
  readonly mayChange?: readonly string[];
  /**
   * Saves what the run has made, once all steps are done, also when this call finds them done. The folder is locked
   * meanwhile.
   */
  readonly saveResult?: (result: RunResult) => Promise<void>;
  /** Ends the run after the step under way, or within a validation, with a checkpoint. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: RunEvent) => void;
}

export interface RunResult {
  readonly step: number;
  /** False if it was interrupted. */
  readonly finished: boolean;
  readonly tokens: number;
  readonly seconds: number;
  /** 1 if the run never diverged. */
  readonly rateFactor: number;
  readonly best: { readonly step: number; readonly loss: number } | null;
}

const beginning: Progress = {
  step: 0,
  tokens: 0,
  seconds: 0,
  rateFactor: 1,
  returns: 0,
  returnedTo: null,
  validated: null,
  best: null,
  losses: noLosses,
  logBytes: 0,
};

/**
 * Trains until `steps` steps are done, or the signal comes. When it returns the trainable is as the last checkpoint says.
 *
 * @param trainable as its configuration makes it; if the folder holds a run, its state is replaced by the checkpoint's
 * @throws Memory3Error "diverged" after too many returns; "mismatch", "locked", "damaged" and "disk" of the folder; "usage".
 *   The folder is sound in every case: the same call goes on from its last checkpoint.
 * @example
 *   await runTraining(trainer, {
 *     folder: 'runs/warmup', config, mayChange: ['threads'],
 *     steps: 3000, schedule: { kind: 'warmup-stable-decay', rate: 1e-3 },
 *     checkpointEvery: 200, validateEvery: 100, keepBest: 'text', signal, onEvent,
 *   });
 */
export async function runTraining(trainable: Trainable, options: RunOptions): Promise<RunResult> {
  const { folder: path, config, mayChange = [], saveResult, signal, onEvent, ...rest } = options;
  const settings = checkOptions(runSettingsSchema, rest);
  using folder = openRunFolder(path, { settings, config }, mayChange);
  const run = new Run(trainable, folder, settings, onEvent ?? (() => {}));
  await run.start();
  while (!run.finished && signal?.aborted !== true) await run.advance(signal);
  const result = await run.end();
  if (result.finished) await saveResult?.(result);
  return result;
}

/**
 * Refuses a folder in which `runTraining` with these options could not begin or go on, before anything dear is done for it.
 * @throws Memory3Error "mismatch"; "usage"; "damaged"; "disk"
 */
export function checkRun(options: Omit<RunOptions, 'saveResult' | 'signal' | 'onEvent'>): void {
  const { folder, config, mayChange = [], ...rest } = options;
  checkRunFolder(folder, { settings: checkOptions(runSettingsSchema, rest), config }, mayChange);
}

/** What went wrong, and when. */
interface Fault {
  readonly step: number;
  readonly reason: string;
}

/** A run between its first and its last step in this process. */
class Run {
  readonly #trainable: Trainable;
  readonly #folder: RunFolder;
  readonly #settings: RunSettings;
  readonly #onEvent: (event: RunEvent) => void;
  #progress = beginning;
  /** Nothing has happened since the last checkpoint. */
  #saved = false;
  #began = performance.now();

  constructor(trainable: Trainable, folder: RunFolder, settings: RunSettings, onEvent: (event: RunEvent) => void) {
    this.#trainable = trainable;
    this.#folder = folder;
    this.#settings = settings;
    this.#onEvent = onEvent;
  }

  get finished(): boolean {
    return this.#progress.step >= this.#settings.steps && !this.#validationIsDue;
  }

  /** Begins, or goes on from the newest checkpoint. */
  async start(): Promise<void> {
    const found = this.#folder.newest();
    if (found === null) {
      const state = await this.#trainable.state();
      const broken = brokenTensor(state.tensors);
      if (broken !== null)
        throw new Memory3Error('diverged', `"${broken}" has values that are not finite from the start.`);
      return this.#write(state);
    }
    await this.#trainable.restore(found.state);
    this.#progress = found.progress;
    this.#began -= found.progress.seconds * 1000;
    this.#saved = true;
    const { log, changed } = this.#folder;
    const discardedLines = log.cut(found.progress.logBytes);
    const damaged = [...found.damaged];
    if (log.bytes < found.progress.logBytes) damaged.push('The log is shorter than it was: lines are missing.');
    if (this.finished && damaged.length === 0 && changed.length === 0) return;
    const { step } = found.progress;
    this.#log({ kind: 'resumed', step, at: new Date().toISOString(), discardedLines, damaged, changed: [...changed] });
    if (!changed.some(({ field }) => field === 'keepBest')) return;
    // The best so far is that of another loss. Written at once: the next process finds nothing changed.
    this.#progress = { ...this.#progress, best: null };
    this.#write(found.state);
  }

  /** A validation if one is due, else a step; then a checkpoint if one is due. The signal ends a validation. */
  async advance(signal: AbortSignal | undefined): Promise<void> {
    const fault = this.#validationIsDue ? await this.#validate(signal) : await this.#step();
    if (fault !== null) return await this.#goBack(fault);
    const { step, losses } = this.#progress;
    const isGood = step % this.#settings.checkpointEvery === 0 && losses.tooHigh === 0 && !this.#validationIsDue;
    if (isGood || this.finished) await this.#save();
  }

  /** Saves what an interruption has left unsaved. */
  async end(): Promise<RunResult> {
    if (!this.#saved) await this.#save();
    const { step, tokens, seconds, rateFactor, best } = this.#progress;
    if (!this.finished) this.#onEvent({ kind: 'interrupted', step });
    return { step, finished: this.finished, tokens, seconds, rateFactor, best };
  }

  get #validationIsDue(): boolean {
    const { steps, validateEvery } = this.#settings;
    const { step, validated } = this.#progress;
    return validateEvery !== null && validated !== step && (step % validateEvery === 0 || step === steps);
  }

  get #seconds(): number {
    return (performance.now() - this.#began) / 1000;
  }

  async #step(): Promise<Fault | null> {
    const { schedule, steps, divergence } = this.#settings;
    const step = this.#progress.step + 1;
    const rate = learningRate(schedule, step, steps) * this.#progress.rateFactor;
    const before = this.#seconds;
    const { loss, tokens, gradientNorm, cut } = await this.#trainable.step(rate);
    this.#saved = false;
    const { history, fault } = judge(this.#progress.losses, { loss, gradientNorm }, divergence);
    if (fault !== null) return { step, reason: fault };
    const seconds = this.#seconds;
    const tokensPerSecond = tokens / Math.max(seconds - before, 1e-6);
    this.#progress = { ...this.#progress, step, tokens: this.#progress.tokens + tokens, seconds, losses: history };
    this.#log({
      kind: 'step',
      step,
      loss,
      rate,
      tokens: this.#progress.tokens,
      tokensPerSecond,
      gradientNorm,
      seconds,
      ...(cut === undefined ? {} : { cut }),
    });
    return null;
  }

  async #validate(signal: AbortSignal | undefined): Promise<Fault | null> {
    const { step, tokens } = this.#progress;
    const losses = await this.#trainable.validate(signal).catch((error: unknown) => {
      if (signal?.aborted === true && error === signal.reason) return null;
      throw error;
    });
    // It stays due: the next process validates.
    if (losses === null) return null;
    this.#saved = false;
    const wrong = Object.entries(losses).find(([, loss]) => !Number.isFinite(loss));
    if (wrong) return { step, reason: `the validation loss "${wrong[0]}" is ${wrong[1]}` };
    const seconds = this.#seconds;
    this.#progress = { ...this.#progress, validated: step, seconds };
    this.#log({ kind: 'validation', step, losses: { ...losses }, tokens, seconds });
    return await this.#keepBest(losses);
  }

  async #keepBest(losses: Readonly<Record<string, number>>): Promise<Fault | null> {
    const { keepBest } = this.#settings;
    if (keepBest === null) return null;
    const { step, best } = this.#progress;
    const loss = losses[keepBest];
    if (loss === undefined) {
      const names = Object.keys(losses).join(', ');
      throw new Memory3Error('usage', `keepBest: there is no validation loss "${keepBest}"; there are: ${names}.`);
    }
    if (best !== null && loss >= best.loss) return null;
    const state = await this.#trainable.state();
    const fault = this.#faultOf(state);
    if (fault !== null) return fault;
    this.#progress = { ...this.#progress, best: { step, loss } };
    this.#onEvent({ kind: 'checkpoint', step, path: this.#folder.saveBest(this.#checkpoint(state)) });
    return null;
  }

  /** Writes a checkpoint of where the run is, or goes back if that is no place to go on from. */
  async #save(): Promise<void> {
    const state = await this.#trainable.state();
    const fault = this.#faultOf(state);
    if (fault !== null) return await this.#goBack(fault);
    this.#write(state);
  }

  #faultOf(state: TrainingState): Fault | null {
    const broken = brokenTensor(state.tensors);
    return broken === null ? null : { step: this.#progress.step, reason: `"${broken}" has values that are not finite` };
  }

  /** The log is on the disk before the checkpoint that counts on its lines. */
  #write(state: TrainingState): void {
    this.#folder.log.sync();
    const path = this.#folder.save(this.#checkpoint(state));
    this.#saved = true;
    this.#onEvent({ kind: 'checkpoint', step: this.#progress.step, path });
  }

  #checkpoint(state: TrainingState): Checkpoint {
    this.#progress = { ...this.#progress, logBytes: this.#folder.log.bytes };
    return { progress: this.#progress, state };
  }

  async #goBack({ step, reason }: Fault): Promise<void> {
    const { divergence } = this.#settings;
    const { returns, returnedTo, rateFactor, best } = this.#progress;
    if (returns >= divergence.returns) {
      throw new Memory3Error(
        'diverged',
        `Training diverged at step ${step}: ${reason}. It went back ${returns} times.`,
        {
          remedy: `Begin a run in another folder with a smaller rate. ${this.#folder.path} keeps its last checkpoint.`,
        },
      );
    }
    const { progress, state, damaged } = this.#folder.lastGood(returnedTo);
    await this.#trainable.restore(state);
    this.#progress = {
      ...progress,
      seconds: this.#seconds,
      rateFactor: rateFactor * divergence.rateFactor,
      returns: returns + 1,
      returnedTo: progress.step,
      best,
    };
    this.#log({
      kind: 'diverged',
      step,
      reason,
      backTo: progress.step,
      rateFactor: this.#progress.rateFactor,
      returns: returns + 1,
      damaged: [...damaged],
    });
    this.#folder.removeAfter(progress.step);
    this.#write(state);
  }

  #log(event: LoggedEvent): void {
    this.#folder.log.append(event);
    this.#onEvent(event);
  }
}
