/**
 * Draws what one group of the conversion's training is made of, before it is known how references reach its contexts.
 *
 * 1. Its references: one from a document for each continuation, the others with questions, 1 to 4 of each being asked.
 * 2. Gaps in sentences of any of the references, and quotations of them; exchanges and long texts that have none.
 * 3. Half of the contexts that have a reference see four others of the group beside it, distractors. Those contexts of a group
 *    see the same five in the same order: as text they have their beginning in common then, which is read once.
 */
import type { Random } from '../../generate/sampling.ts';
import { bodyTokens, cutIntoChunks } from '../../retrieval/chunks.ts';
import { pick, pickByShare, shuffle } from '../draw.ts';
import { type Gap, gapsOf } from './gaps.ts';
import type { ContextKind } from './group.ts';
import type { AskedQuestion, ExchangeSource, Material, QuestionFamily, QuestionReference } from './material.ts';
import { type Renderer, render, type Utterance } from './render.ts';

/** How often what is drawn, of what there is. */
export interface PlanShares {
  readonly questions: ReadonlyMap<QuestionFamily, number>;
  readonly documents: ReadonlyMap<string, number>;
  readonly plain: ReadonlyMap<ExchangeSource, number>;
}

export interface PlannedReference {
  readonly text: string;
  readonly tokens: readonly number[];
}

export interface PlannedContext {
  readonly kind: ContextKind;
  readonly utterance: Utterance;
  /** References of the group, in the order in which a prompt has them. */
  readonly references: readonly number[];
}

export interface Plan {
  readonly references: readonly PlannedReference[];
  readonly contexts: readonly PlannedContext[];
}

/** References beside a context's own, where it has others. */
export const distractors = 4;
/** Most questions of one reference. */
const questionsPerReference = 4;
/** Tokens of a quotation that are given, that follow, and the shortest reference that is worth quoting. */
const quotation = { given: 4, rest: 40, shortest: 12 } as const;
/** Tokens of a continuation. */
const continuationTokens = 60;
/** Tokens of a text that is read without references: long, so that the model stays one of long texts. */
export const textTokens = 240;
/** Characters of a document that hold a reference and the text behind it. */
const windowCharacters = 2000;
/** Draws after which the best so far is taken. */
const patience = 50;

interface Asked {
  readonly reference: QuestionReference;
  readonly questions: AskedQuestion[];
}

/** A piece of a document and what follows it. */
interface Continued extends PlannedReference {
  readonly following: readonly number[];
}

/** Draws one group. */
export class Planner {
  readonly #material: Material;
  readonly #shares: PlanShares;
  readonly #options: Renderer & { readonly maxTokens: number };
  readonly #random: Random;
  /** The references of this group that contexts with distractors see. */
  #five: readonly number[] = [];

  constructor(
    material: Material,
    shares: PlanShares,
    options: Renderer & { readonly maxTokens: number },
    random: Random,
  ) {
    this.#material = material;
    this.#shares = shares;
    this.#options = options;
    this.#random = random;
  }

  /** @param count references of the group */
  plan(kinds: readonly ContextKind[], count: number): Plan {
    this.#five = shuffle([...Array(count).keys()], this.#random).slice(0, distractors + 1);
    const wanted = (kind: ContextKind) => kinds.filter((one) => one === kind).length;
    const continued: Continued[] = [];
    while (continued.length < wanted('continuation')) continued.push(this.#continued(continued));
    const asked = this.#asked(count - continued.length, wanted('question') + wanted('chat-question'));
    const references = [...asked.map(({ reference }) => reference), ...continued];
    const continuations = continued.map(({ following }, index) => ({
      kind: 'continuation' as const,
      utterance: { form: 'text', tokens: following } as const,
      references: this.#seen(asked.length + index, count),
    }));
    const contexts = [
      ...this.#questions(asked, wanted('chat-question'), count),
      ...this.#gaps(references, wanted('gap')),
      ...this.#quotations(references, wanted('reconstruction')),
      ...continuations,
      ...Array.from({ length: wanted('plain') }, () => this.#plain()),
      ...Array.from({ length: wanted('text') }, () => this.#text()),
    ];
    return { references, contexts };
  }

  /** References with questions, and those of them that are asked: `wanted` in all. */
  #asked(count: number, wanted: number): Asked[] {
    const questionsOf = (reference: QuestionReference) => Math.min(questionsPerReference, reference.questions.length);
    const drawn: QuestionReference[] = [];
    let missing = wanted;
    for (let left = count - 1; left >= 0; left--) {
      // Data sets with one question a passage must leave enough for those with many to make up.
      const least = missing - left * questionsPerReference;
      const draw = () => {
        const family = pickByShare(this.#shares.questions, this.#random);
        return pick(this.#material.questions.get(family) as readonly QuestionReference[], this.#random);
      };
      const lack = (one: QuestionReference) =>
        (drawn.includes(one) ? questionsPerReference : 0) + Math.max(0, least - questionsOf(one));
      const reference = this.#drawUntil(draw, lack);
      drawn.push(reference);
      missing -= questionsOf(reference);
    }
    const asked = drawn.map((reference): Asked => ({ reference, questions: [] }));
    const orders = drawn.map((one) => shuffle(one.questions, this.#random).slice(0, questionsPerReference));
    for (let turn = 0, placed = 0; placed < wanted; turn++) {
      const [index, round] = [turn % count, Math.floor(turn / count)];
      const order = orders[index] as AskedQuestion[];
      // A question is asked twice only if all references together have too few.
      if (round >= order.length && missing <= 0) continue;
      asked[index]?.questions.push(order[round % order.length] as AskedQuestion);
      placed++;
    }
    return asked;
  }

  #questions(asked: readonly Asked[], chats: number, count: number): PlannedContext[] {
    const all = asked.flatMap(({ questions }, own) => questions.map((one) => ({ ...one, own })));
    let chatsLeft = chats;
    return shuffle(all, this.#random).map(({ question, answer, own }) => {
      const references = this.#seen(own, count);
      const chat: Utterance = { form: 'chat', prompt: question, answer };
      // The template takes room: a longer question is asked without it.
      if (chatsLeft === 0 || render(chat, [], this.#options).cut) {
        return { kind: 'question', utterance: { form: 'question', question, answer }, references };
      }
      chatsLeft--;
      return { kind: 'chat-question', utterance: chat, references };
    });
  }

  /** Gaps in any of the references, of another one each while there are any; references without names or numbers have none. */
  #gaps(references: readonly PlannedReference[], wanted: number): PlannedContext[] {
    const gaps = references.map(({ text }) => gapsOf(text).filter((gap) => !render(asked(gap), [], this.#options).cut));
    const order = shuffle(
      [...references.keys()].filter((index) => gaps[index]?.length !== 0),
      this.#random,
    );
    if (order.length === 0) return this.#quotations(references, wanted);
    return Array.from({ length: wanted }, (_, i) => {
      const own = order[i % order.length] as number;
      const gap = pick(gaps[own] as readonly Gap[], this.#random);
      return { kind: 'gap', utterance: asked(gap), references: this.#seen(own, references.length) };
    });
  }

  /** Quotations from the beginning of a reference or from anywhere in it, of another reference each while there are any. */
  #quotations(references: readonly PlannedReference[], wanted: number): PlannedContext[] {
    const long = [...references.keys()].filter((index) => lengthOf(references, index) >= quotation.shortest);
    const order = shuffle(long.length > 0 ? long : [...references.keys()], this.#random);
    return Array.from({ length: wanted }, (_, i) => {
      const own = order[i % order.length] as number;
      const { tokens } = references[own] as PlannedReference;
      const latest = Math.max(0, tokens.length - quotation.shortest);
      const start = this.#random() < 0.5 ? 0 : Math.floor(this.#random() * (latest + 1));
      const given = Math.min(start + quotation.given, tokens.length - 1);
      const utterance: Utterance = {
        form: 'quotation',
        start: tokens.slice(start, given),
        rest: tokens.slice(given, given + quotation.rest),
      };
      return { kind: 'reconstruction', utterance, references: this.#seen(own, references.length) };
    });
  }

  #plain(): PlannedContext {
    const source = pickByShare(this.#shares.plain, this.#random);
    return { kind: 'plain', utterance: this.#exchange(source), references: [] };
  }

  /** An exchange of which at least a part of the answer has room. */
  #exchange(source: ExchangeSource): Utterance {
    const exchanges = this.#material.exchanges.get(source) ?? [];
    const draw = (): Utterance => {
      const { prompt, answer } = pick(exchanges, this.#random);
      // A question of general knowledge is asked as one with a reference is, a sum too, whose text is long.
      return source === 'triviaqa' || source === 'gsm8k'
        ? { form: 'question', question: prompt, answer }
        : { form: 'chat', prompt, answer };
    };
    return this.#drawUntil(draw, (utterance) => {
      const { tokens, first } = render(utterance, [], this.#options);
      return Math.max(0, 4 - (tokens.length - first));
    });
  }

  #text(): PlannedContext {
    const tokens = bodyTokens(this.#options.tokenizer, this.#window()).slice(0, textTokens);
    return { kind: 'text', utterance: { form: 'text', tokens }, references: [] };
  }

  /** A piece of a document that is not among those drawn before. */
  #continued(before: readonly Continued[]): Continued {
    const draw = (): Continued => {
      const window = this.#window();
      const [chunk] = cutIntoChunks(window, this.#options.tokenizer, this.#options);
      if (chunk === undefined) return { text: '', tokens: [], following: [] };
      const rest = window.slice(chunk.end).trimStart();
      const following = rest === '' ? [] : bodyTokens(this.#options.tokenizer, rest).slice(0, continuationTokens);
      return { text: chunk.text, tokens: chunk.tokens, following };
    };
    return this.#drawUntil(draw, ({ text, tokens, following }) => {
      if (following.length === 0 || tokens.length < quotation.shortest) return 2;
      return before.some((one) => one.text === text) ? 1 : 0;
    });
  }

  /** A piece of a document from the beginning of a sentence or line on. */
  #window(): string {
    const source = pickByShare(this.#shares.documents, this.#random);
    const document = pick(this.#material.documents.get(source) as readonly string[], this.#random);
    const from = Math.floor(this.#random() * Math.max(1, document.length - windowCharacters / 2));
    const window = document.slice(from, from + windowCharacters);
    const beginning = from === 0 ? 0 : /(?<=[.!?]) +(?=\p{Lu})|\n+/u.exec(window.slice(0, windowCharacters / 4));
    if (beginning === 0) return window.trim();
    const at = beginning === null ? window.indexOf(' ') : beginning.index + beginning[0].length;
    return window.slice(Math.max(0, at)).trim();
  }

  /** A context's own reference, alone or among the group's five, which half of all see if a group has at most ten. */
  #seen(own: number, count: number): readonly number[] {
    const among = this.#random() < count / (2 * this.#five.length);
    return among && this.#five.includes(own) ? this.#five : [own];
  }

  /** The first draw that lacks nothing, or the one that lacks least. */
  #drawUntil<T>(draw: () => T, lack: (one: T) => number): T {
    let best = draw();
    let least = lack(best);
    for (let i = 1; i < patience && least > 0; i++) {
      const one = draw();
      const lacking = lack(one);
      if (lacking < least) [best, least] = [one, lacking];
    }
    return best;
  }
}

function asked({ sentence, answer }: Gap): Utterance {
  return { form: 'question', question: `Fill in the gap: ${sentence}`, answer };
}

function lengthOf(references: readonly PlannedReference[], index: number): number {
  return references[index]?.tokens.length ?? 0;
}
