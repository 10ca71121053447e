/** Lines of a log with their numbers from 1, without what mpirun puts before them to say whose they are. */
export function logLines(text: string): { number: number; line: string }[] {
  return text
    .split(/\r?\n/)
    .map((line, i) => ({ number: i + 1, line: line.replace(/^\[\d+,\d+\]<std(?:out|err)>:\s?/, '') }));
}
