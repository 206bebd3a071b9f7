/**
 * Bad texts for the quality classifier to learn from, made from good ones by corruption. Each kind imitates what crawls
 * are full of:
 *
 *   shuffled      the words in random order: keyword lists, failed extraction of columns and tables
 *   boilerplate   menus, notices and calls to action around scraps of the text
 *   symbols       a sixth of the characters replaced by symbols: wrong encodings, markup, bad text recognition
 *   stuffed       words of the text drawn again and again with the most frequent left out: search engine spam
 */
import type { Random } from '../../generate/sampling.ts';
import { pick, shuffle } from '../draw.ts';

export const corruptions = ['shuffled', 'boilerplate', 'symbols', 'stuffed'] as const;
export type Corruption = (typeof corruptions)[number];

const noise = [...'#$%&*+/<=>@[]^_{|}~¤¦¬°±·Ã©â€œ�'];
const notices = [
  'Home | About | Contact | Login | Register',
  'Click here to subscribe to our newsletter!',
  'Copyright © 2014 All rights reserved.',
  'Privacy Policy - Terms of Use - Site Map',
  'Share on Facebook Tweet Pin It Email Print',
  'Add to Cart Add to Wishlist Add to Compare',
  'This site uses cookies. Accept Decline Learn more',
  'Free shipping on all orders! Buy now and save 20%',
  'Posted by admin at 10:42 PM No comments: Reply',
  'Previous post Next post Back to top Read more >>',
  'You must be logged in to post a comment.',
  'Sort by: Price Newest Popularity Show 12 24 48 per page',
  'Forgot your password? Create an account Sign in',
  'Skip to main content Toggle navigation Search for: Menu',
  'Call us today for a free quote 1-800-555-0199',
  'Tags: cheap, best, online, deals, review, download, free',
  'Page not found. Please check the URL and try again.',
  'Enter your email address to get the latest updates',
  'In stock. Usually ships within 24 hours. Qty: 1',
  'Related articles You may also like Sponsored links Advertisement',
];

/** A corrupted text of about the same length. */
export function corrupt(text: string, kind: Corruption, random: Random): string {
  const words = text.split(/\s+/).filter((word) => word !== '');
  switch (kind) {
    case 'shuffled':
      return shuffle(words, random).join(' ');
    case 'boilerplate':
      return boilerplate(words, random);
    case 'symbols':
      return [...text].map((character) => (random() < 1 / 6 ? pick(noise, random) : character)).join('');
    case 'stuffed': {
      const telling = words.filter((word) => word.length > 4);
      return words.map(() => pick(telling.length > 0 ? telling : words, random)).join(' ');
    }
  }
}

function boilerplate(words: readonly string[], random: Random): string {
  const lines: string[] = [];
  let length = 0;
  while (length < words.length) {
    const isScrap = random() < 0.2;
    const start = Math.floor(random() * words.length);
    const line = isScrap ? `${words.slice(start, start + 6).join(' ')}...` : pick(notices, random);
    lines.push(line);
    length += line.split(' ').length;
  }
  return lines.join('\n');
}
