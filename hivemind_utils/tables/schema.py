"""Schemas of the tables that notebooks hand each other, and their validation."""

from dataclasses import dataclass

SOURCES = {
    "simulated": "drawn from the demo population: invented models, planted behaviour",
    "released": "published by the authors of the study",
    "sampled": "sampled from models by notebook 04",
    "imported": "answers, labels or scores that somebody else collected",
}


@dataclass(frozen=True)
class Column:
    """One column: its type ("str", "int", "float" or "bool"), meaning, unit and permitted values."""

    name: str
    type: str
    meaning: str
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Table:
    """One table: what a row is, its columns, and the columns that identify a row."""

    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def number(self):
        """The number of the notebook that writes the table."""
        return self.name[:2]


def _cosine(name, meaning, **options):
    return Column(name, "float", f"{meaning} (cosine, -1 to 1)", low=-1, high=1, **options)


def _share(name, meaning, **options):
    return Column(name, "float", f"{meaning} (0 to 1)", low=0, high=1, **options)


_ID = Column("prompt_id", "str", "the prompt")


_ARM = (
    Column("model", "str", "name of the model, or of the group of people"),
    Column("condition", "str", "prompting condition, such as a mode of NoveltyBench; `default` where there is one"),
    Column("decoding", "str", "name of the decoding setting, such as `top_p`; `none` for people"),
)


_INTERVAL = (
    _cosine("lower", "lower 95 % bound, prompts resampled", nullable=True),
    _cosine("upper", "upper 95 % bound, prompts resampled", nullable=True),
)


_ITEM = Column("item_id", "str", "the rated response or pair")


_ITEM_KIND = Column("items", "str", "ratings of one response, or of pairs", allowed=("absolute", "pairs"))


_SCORER = Column("scorer", "str", "name of the scorer")


_SCORER_KIND = Column("kind", "str", "kind of scorer: lm, reward, judge, or what an import says")


_RULE = Column("rule", "str", "the subset")


_RULE_FAMILY = Column("family", "str", "grid the rule belongs to")


_LABEL = (
    _ITEM,
    Column("slot", "int", "place of the annotator: within a form, or among all", low=0),
    Column("annotator", "str", "id of the person, where known", nullable=True),
    Column("label", "float", "the label; names of categories are numbered from 0"),
)


def _float(name, meaning, low=None, high=None):
    return Column(name, "float", meaning, nullable=True, low=low, high=high)


def _bounds(what="prompts resampled", prefix=""):
    return tuple(_float(f"{prefix}{side}", f"{side} 95 % bound, {what}") for side in ("lower", "upper"))


_REDONE = "jackknife over prompts, the cut made again without each"


_NULL = (
    _float("expected", "correlation of a scorer that loses nothing, at equal human means", -1, 1),
    _float("null_lower", "lower 95 % edge of the range-restriction null, pointwise", -1, 1),
    _float("null_upper", "upper 95 % edge of the range-restriction null, pointwise", -1, 1),
    _float("line", "what range restriction does to a rank-linear scorer, where the mean decides who is in", -1, 1),
)


_FAILURE = (
    Column("query_id", "str", "the query"),
    Column("vote", "int", "number of the vote, from 0", low=0),
    Column("reason", "str", "what was wrong with the answer"),
    Column("raw", "str", "the answer as given", nullable=True),
)


TABLES = {
    table.name: table
    for table in (
        Table(
            "01_queries",
            "a first user message kept by the filter",
            ("query_id",),
            (
                Column("query_id", "str", "hash of conversation_id and text; a number is added where both repeat"),
                Column("conversation_id", "str", "id as given, or a hash of the text", nullable=True),
                Column("text", "str", "the first user message, stripped"),
                Column("n_chars", "int", "length of text, code points", low=1),
                Column("model", "str", "model it was addressed to", nullable=True),
                Column("language", "str", "language of the conversation, as given", nullable=True),
                Column("timestamp", "str", "time of the conversation, ISO 8601, UTC", nullable=True),
            ),
        ),
        Table(
            "01_waterfall",
            "a filter rule, in the order applied",
            ("step",),
            (
                Column("step", "int", "position, from 0", low=0),
                Column("rule", "str", "name of the rule"),
                Column("rows_in", "int", "rows before it", low=0),
                Column("rows_out", "int", "rows after it", low=0),
                Column("note", "str", "what the rule asks, or why it removed nothing"),
                Column("published", "int", "rows the paper reports after this rule", nullable=True, low=0),
            ),
        ),
        Table(
            "01_bad_rows",
            "a reason why rows could not be judged",
            ("reason",),
            (
                Column("reason", "str", "the first that holds"),
                Column("n_rows", "int", "rows", low=1),
                Column("example", "str", "conversation_id of one of them", nullable=True),
            ),
        ),
        Table(
            "01_duplicates",
            "a message removed as a repeat",
            ("query_id",),
            (
                Column("query_id", "str", "the message removed"),
                Column("kept_id", "str", "the message it repeats, or the first of the same user"),
                Column("rule", "str", "the rule that removed it"),
                Column("text", "str", "the message removed"),
            ),
        ),
        Table(
            "01_sensitivity",
            "a bound of a rule at one value, all other rules as set",
            ("bound", "value"),
            (
                Column("bound", "str", "the bound that moves, or `rule left out`"),
                Column("value", "str", "its value"),
                Column("n_queries", "int", "messages kept", low=0),
                Column("is_used", "bool", "the value the run uses"),
            ),
        ),
        Table(
            "02_open_ended",
            "a labelled query",
            ("query_id",),
            (
                Column("query_id", "str", "as in 01_queries, where the filter kept the query"),
                Column("conversation_id", "str", "conversation of the query", nullable=True),
                Column("original", "str", "the query as asked"),
                Column("revised", "str", "minimal rewrite; the original where none was given"),
                Column("response_type", "str", "majority of the votes", allowed=("open", "closed", "dropped")),
                Column("why_dropped", "str", "why a query is neither open nor closed", nullable=True),
                _share("open_share", "share of valid votes that call the query open-ended", nullable=True),
                Column("n_votes", "int", "valid votes", low=0),
                Column("labeller", "str", "model, or file the labels come from"),
                Column("raw", "str", "the answers as given, a JSON list, one a vote"),
                _cosine("rewrite_cosine", "original and rewrite, embedded", nullable=True),
            ),
        ),
        Table(
            "02_failures",
            "a label that could not be had",
            ("query_id", "vote"),
            _FAILURE,
        ),
        Table(
            "02_annotations",
            "an annotator's answers about one query",
            ("query_id", "annotator"),
            (
                Column("query_id", "str", "the query"),
                Column("annotator", "str", "who answered"),
                Column("open_ended", "bool", "more than one answer would do", nullable=True),
                Column("alternatives", "str", "reasonable alternatives, as in Table 1", nullable=True),
                Column("weight", "float", "queries of the set that the sampled query stands for", low=0),
            ),
        ),
        Table(
            "03_failures",
            "a label of kinds that could not be had",
            ("query_id", "vote"),
            _FAILURE,
        ),
        Table(
            "03_categories",
            "a category of a query",
            ("query_id", "category"),
            (
                Column("query_id", "str", "as in 02_open_ended"),
                Column("category", "str", "leaf of the taxonomy, or merged name of a new category"),
                Column("level", "str", "top level of the taxonomy; `new` for a new category"),
                Column("kind", "str", "in the taxonomy, or not", allowed=("predefined", "new")),
                _share("vote_share", "share of the query's valid votes that name the category"),
            ),
        ),
        Table(
            "03_shares",
            "a category with its share of queries",
            ("category",),
            (
                Column("category", "str", "leaf of the taxonomy"),
                Column("level", "str", "top level"),
                Column("n", "int", "queries labelled so", low=0),
                _share("share", "share of labelled queries; a query may have several"),
                _share("lower", "lower 95 % bound (Wilson)"),
                _share("upper", "upper 95 % bound (Wilson)"),
                _share("published", "share in the paper", nullable=True),
                Column("alpha", "float", "Krippendorff's alpha between votes", nullable=True, high=1),
            ),
        ),
        Table(
            "03_novel",
            "a name of a category that is not in the taxonomy: the log of merges",
            ("name",),
            (
                Column("name", "str", "the name as cleaned"),
                Column("n", "int", "queries it was given to", low=1),
                Column("merged", "str", "name of its group: the member nearest to all others"),
                _cosine("cosine", "of the name with its group's name"),
            ),
        ),
        Table(
            "04_prompts",
            "a prompt shown to models",
            ("prompt_id",),
            (
                Column("prompt_id", "str", "stable id; given with the data, or a hash of the text"),
                Column("text", "str", "the prompt as shown"),
                Column(
                    "kind",
                    "str",
                    "original; paraphrase of another prompt; closed-ended reference",
                    allowed=("original", "paraphrase", "closed"),
                ),
                Column("parent_id", "str", "the original of a paraphrase", nullable=True),
                Column("category", "str", "category of the taxonomy", nullable=True),
                _share("open_endedness", "share of labels that call the prompt open-ended", nullable=True),
            ),
        ),
        Table(
            "04_models",
            "a model, or a group of people who answered",
            ("model",),
            (
                Column("model", "str", "name as in the answers"),
                Column("family", "str", "models of one line; colours and blocks go by it"),
                Column("kind", "str", "model or human", allowed=("model", "human")),
                Column("size_b", "float", "parameters, billions", nullable=True, low=0),
                Column("tuning", "str", "base or instruct", nullable=True, allowed=("base", "instruct")),
                Column("release_date", "str", "YYYY-MM-DD", nullable=True),
                Column("open_weights", "bool", "weights can be downloaded", nullable=True),
            ),
        ),
        Table(
            "04_responses",
            "one answer",
            ("response_id",),
            (
                Column("response_id", "str", "hash of prompt, model, condition, decoding and sample_idx"),
                _ID,
                *_ARM,
                Column("sample_idx", "int", "number of the answer within its cell, from 0", low=0),
                Column("text", "str", "the answer as given; empty where there was none"),
                Column("text_id", "str", "hash of the text: the row of its embedding"),
                Column("finish_reason", "str", "why the model stopped, as reported", nullable=True),
                Column("usable", "bool", "false: counted in 04_coverage, kept out of every similarity"),
                Column("why_not", "str", "why an answer is not usable", nullable=True),
                Column(
                    "outcome",
                    "str",
                    "what came; refusals without a provider's word are known by how they begin",
                    allowed=("answer", "truncated", "empty", "refusal", "content_filter"),
                ),
            ),
        ),
        Table(
            "04_ideas",
            "the idea an answer rests on, where it is known",
            ("response_id",),
            (
                Column("response_id", "str", "the answer"),
                Column("idea", "str", "label of the idea"),
                Column("origin", "str", "given with the data, or by a judge", allowed=("given", "judge")),
                Column("scope", "str", "ideas compare only between answers of equal scope"),
            ),
        ),
        Table(
            "04_coverage",
            "a cell (prompt, model, condition, decoding), missing cells included",
            ("prompt_id", "model", "condition", "decoding"),
            (
                _ID,
                *_ARM,
                Column("n_answers", "int", "answers there are; 0 where the cell is missing", low=0),
                Column("n_usable", "int", "answers that count", low=0),
                Column("n_empty", "int", "empty answers", low=0),
                Column("n_truncated", "int", "answers cut off by the length limit", low=0),
                Column("n_refused", "int", "refusals", low=0),
                Column("n_filtered", "int", "answers withheld by a content filter", low=0),
                Column("n_repeated", "int", "answers whose exact text came before in the cell", low=0),
            ),
        ),
        Table(
            "04_provenance",
            "a sampled answer: how it came about (imported answers have none)",
            ("response_id",),
            (
                Column("response_id", "str", "the answer"),
                Column("call_id", "int", "the call that brought it; answers of one call may be dependent"),
                Column("n_in_call", "int", "answers of that call", low=1),
                Column("seed", "int", "seed of the call; empty where the provider takes none", nullable=True),
                Column("requested", "str", "decoding as requested, JSON"),
                Column("effective", "str", "what was sent, JSON"),
                Column("api_base", "str", "address of the server, where it was given", nullable=True),
                Column("served_model", "str", "model that answered, by its own word", nullable=True),
                Column("system_fingerprint", "str", "the provider's configuration", nullable=True),
                Column("attempts", "int", "calls until one succeeded", low=1),
                Column("latency_s", "float", "seconds of the call", low=0),
                Column("prompt_tokens", "int", "tokens of the prompt, of the call", nullable=True, low=0),
                Column("completion_tokens", "int", "tokens of all answers of the call", nullable=True, low=0),
                Column("reasoning_tokens", "int", "hidden ones among them", nullable=True, low=0),
                Column("cost_usd", "float", "US dollars of the call / its answers", nullable=True, low=0),
                Column("answered_at", "str", "time, UTC, ISO 8601"),
                Column("litellm_version", "str", "version of litellm"),
            ),
        ),
        Table(
            "04_plan",
            "a model under a decoding: what the study wants of it, and what there is",
            ("model", "decoding"),
            (
                Column("model", "str", "name of the model"),
                Column("decoding", "str", "name of the decoding setting"),
                Column("wanted", "int", "answers the study wants", low=0),
                Column("stored", "int", "answers there are", low=0),
                Column("unsupported", "int", "answers not to be had: the provider refuses the decoding", low=0),
                Column("missing", "int", "answers still to ask for", low=0),
                Column("calls", "int", "calls that takes", low=0),
                Column("tokens_in", "float", "tokens of their prompts, estimate", low=0),
                Column("tokens_out", "float", "tokens of their answers, estimate", low=0),
                Column("cost_low", "float", "US dollars; empty where the price is unknown", nullable=True, low=0),
                Column("cost_expected", "float", "US dollars", nullable=True, low=0),
                Column("cost_high", "float", "US dollars, every answer at its full length", nullable=True, low=0),
                Column("hours", "float", "least time at the given request rates", low=0),
            ),
        ),
        Table(
            "04_paraphrases",
            "a paraphrase that a model wrote, kept or not",
            ("prompt_id",),
            (
                Column("prompt_id", "str", "id of the paraphrase"),
                Column("parent_id", "str", "the original"),
                Column("text", "str", "the paraphrase"),
                Column("writer", "str", "model that wrote it"),
                Column("judge", "str", "model that checked it"),
                Column("same_meaning", "bool", "the judge's verdict; empty: none could be read", nullable=True),
                Column("reply", "str", "the judge's reply as it came", nullable=True),
            ),
        ),
        Table(
            "04_excluded",
            "an input row that did not become an answer",
            ("input_row",),
            (
                Column("input_row", "int", "row of the input, from 0, after lists were unrolled", low=0),
                Column("reason", "str", "why it was left out"),
                Column("excerpt", "str", "the row's first 200 characters, as JSON"),
            ),
        ),
        Table(
            "05_repetition",
            "a cell (prompt, model, condition, decoding) with at least two usable answers",
            ("prompt_id", "model", "condition", "decoding"),
            (
                _ID,
                *_ARM,
                Column("n", "int", "usable answers", low=2),
                _cosine("mean_cosine", "mean over unordered pairs of answers"),
                _cosine(
                    "mean_cosine_equal_n", "the same for random subsets of equal size, mean of draws", nullable=True
                ),
                _cosine("mean_cosine_centred", "the same after subtracting the mean of all embeddings", nullable=True),
                _cosine("mean_cosine_truncated", "the same for the first characters of each answer", nullable=True),
                _cosine("mean_tfidf", "the same in TF-IDF vectors, which know words only", nullable=True),
                _share("share_above", "share of the cell's pairs at or above the threshold parameter"),
                Column("vendi_1", "float", "Vendi score, order 1: effective number of answers", low=0.99),
                Column("vendi_2", "float", "Vendi score, order 2", low=0.99),
                Column("vendi_inf", "float", "Vendi score, order infinity", low=0.99),
                Column("vendi_1_equal_n", "float", "Vendi score, order 1, of random subsets", low=0.99, nullable=True),
                Column(
                    "effective_distinct",
                    "float",
                    "exp entropy of the shares of distinct texts",
                    low=0.99,
                    nullable=True,
                ),
                Column("effective_distinct_equal_n", "float", "the same of random subsets", low=0.99, nullable=True),
                _share("distinct_1", "distinct words / words", nullable=True),
                _share("distinct_2", "distinct word pairs / word pairs", nullable=True),
                _share("distinct_3", "distinct word triples / word triples", nullable=True),
                _share("self_overlap", "n-gram precision of an answer against the others of its cell", nullable=True),
                Column("compression_ratio", "float", "bytes / compressed bytes of the cell", low=0, nullable=True),
                _share("duplicate_share", "share of answers whose normalised text occurs again", nullable=True),
                _share("opener_share", "share of the commonest first four words", nullable=True),
                Column("mean_chars", "float", "mean length of an answer, characters", low=0),
            ),
        ),
        Table(
            "05_arms",
            "a model under one condition and decoding, over prompts",
            ("model", "condition", "decoding", "measure"),
            (
                *_ARM,
                Column("measure", "str", "column of 05_repetition that is averaged"),
                Column("n_prompts", "int", "prompts averaged", low=1),
                Column("mean", "float", "unweighted mean over prompts"),
                Column("lower", "float", "lower 95 % bound, prompts resampled", nullable=True),
                Column("upper", "float", "upper 95 % bound, prompts resampled", nullable=True),
            ),
        ),
        Table(
            "05_references",
            "a kind of pair of answers, with its distribution of similarity",
            ("kind", "decoding"),
            (
                Column("kind", "str", "kind of pair"),
                Column("decoding", "str", "decoding of both answers; `all` where it plays no part"),
                Column("n_pairs", "int", "pairs counted", low=0),
                _cosine(
                    "mean", "mean of the kind, prompts weighing equally (the floor: pairs), to 0.0005", nullable=True
                ),
                *_INTERVAL,
                _cosine("q05", "5 % quantile of pairs", nullable=True),
                _cosine("median", "median of pairs", nullable=True),
                _cosine("q95", "95 % quantile of pairs", nullable=True),
                _share("share_above", "share of pairs at or above the threshold parameter", nullable=True),
            ),
        ),
        Table(
            "05_paraphrases",
            "a prompt with paraphrases, answered by one model",
            ("prompt_id", "model", "condition", "decoding"),
            (
                _ID,
                *_ARM,
                Column("n_paraphrases", "int", "paraphrases answered", low=1),
                _cosine("within", "pairs of answers to the original"),
                _cosine("across", "answers to the original with answers to its paraphrases"),
                _cosine("between", "answers to different paraphrases", nullable=True),
                _cosine("within_paraphrase", "pairs of answers to one paraphrase", nullable=True),
            ),
        ),
        Table(
            "06_model_pairs",
            "a pair of arms (model, condition) under one decoding; an arm with itself on the diagonal",
            ("arm_a", "arm_b"),
            (
                Column("arm_a", "str", "model, with its condition where there are several"),
                Column("arm_b", "str", "the other; never before arm_a in the table's order"),
                Column("family_a", "str", "family of arm_a"),
                Column("family_b", "str", "family of arm_b"),
                Column("n_prompts", "int", "prompts both answered", low=0),
                Column("n_pairs", "int", "pairs of answers", low=0),
                _cosine("mean_cosine", "pooled mean; on the diagonal without self pairs", nullable=True),
                _cosine("mean_cosine_published", "as published: self pairs in the diagonal", nullable=True),
                _cosine("mean_tfidf", "the same in TF-IDF vectors", nullable=True),
                *_INTERVAL,
            ),
        ),
        Table(
            "06_neighbours",
            "(prompt, grouping, N): the sources of the N nearest answers",
            ("prompt_id", "by", "n_nearest"),
            (
                _ID,
                Column("by", "str", "what counts as a source", allowed=("model", "family")),
                Column("n_nearest", "int", "N, neighbours looked at", low=1),
                Column("n_sources", "float", "distinct sources among them, mean over answers", low=1),
                Column("separated", "float", "the same if every source kept to itself", low=1),
                Column("expected", "float", "the same if labels were random", low=1),
                Column("n_available", "int", "sources that answered the prompt", low=2),
                Column("n_answers", "int", "answers of the prompt", low=2),
            ),
        ),
        Table(
            "06_overlaps",
            "a pair of answers of different models with words in common",
            ("kind", "prompt_id", "response_a", "response_b"),
            (
                Column(
                    "kind",
                    "str",
                    "same text; a long shared span; among the nearest by cosine",
                    allowed=("exact", "span", "nearest"),
                ),
                _ID,
                Column("model_a", "str", "model of the first answer"),
                Column("model_b", "str", "model of the second answer"),
                Column("response_a", "str", "first answer"),
                Column("response_b", "str", "second answer"),
                Column("n_models", "int", "models that gave the text (exact), else 2", low=2),
                Column("n_answers", "int", "answers with the text (exact), else 2", low=2),
                _cosine("cosine", "similarity of the pair", nullable=True),
                Column("longest_span_words", "int", "longest run of words in common", low=0),
                _share("shared_8grams", "share of the shorter answer's 8-grams in the other", nullable=True),
                Column("span", "str", "the longest run"),
            ),
        ),
        Table(
            "06_pools",
            "(decoding, pool, k): the diversity of k answers",
            ("pool", "k"),
            (
                Column("pool", "str", "where the k answers come from: one model, or k models"),
                Column("k", "int", "answers", low=1),
                Column("vendi_1", "float", "effective number of answers, mean over prompts and draws", low=0.99),
                Column("lower", "float", "lower 95 % bound, prompts resampled", nullable=True),
                Column("upper", "float", "upper 95 % bound, prompts resampled", nullable=True),
                Column("n_prompts", "int", "prompts with enough answers", low=1),
            ),
        ),
        Table("08_ratings", "one annotator's rating of one response", ("item_id", "slot"), _LABEL),
        Table(
            "07_map",
            "a usable answer to an original prompt with enough of them, under one decoding",
            ("response_id",),
            (
                Column("response_id", "str", "the answer"),
                _ID,
                Column("x", "float", "first coordinate of the prompt's UMAP; only nearness means something"),
                Column("y", "float", "second coordinate"),
                Column("pc_1", "float", "first principal component of the prompt's embeddings"),
                Column("pc_2", "float", "second principal component"),
                Column(
                    "mode", "int", "mode of the answer within its prompt, the largest is 0; -1 outside of all", low=-1
                ),
                Column("lexical_mode", "int", "the same where only words are seen (TF-IDF)", low=-1),
            ),
        ),
        Table(
            "07_modes",
            "a mode of one prompt",
            ("prompt_id", "mode"),
            (
                _ID,
                Column("mode", "int", "number within the prompt, from the largest", low=0),
                Column("size", "int", "answers", low=1),
                _share("share", "share of the prompt's answers"),
                Column("n_texts", "int", "distinct texts", low=1),
                Column("n_models", "int", "models, and groups of people, with an answer in it", low=1),
                Column("n_families", "int", "families with an answer in it", low=1),
                Column("owner", "str", "family with most of the mode's answers"),
                _share("owner_share", "the owner's share of the mode"),
                _share("owner_expected", "the owner's share of all answers to the prompt"),
                Column("keyphrases", "str", "words that set the mode apart; the prompt's own are left out"),
                Column("exemplar", "str", "response_id of the answer in the middle (medoid)"),
                Column("exemplar_text", "str", "its text"),
                Column(
                    "separation", "float", "mean silhouette of its distinct answers, by cosine distance", low=-1, high=1
                ),
                _share(
                    "found_again_seeds",
                    "mean Jaccard index with the best mode of reruns with other seeds",
                    nullable=True,
                ),
                _share("found_again_subsamples", "the same for random parts of the answers", nullable=True),
                _share("word_p", "probability that random groups share as many words", nullable=True),
                Column("supported", "bool", "the evidence supports the mode: `clustering.supported` has the rule"),
            ),
        ),
        Table(
            "07_prompts",
            "a prompt whose answers were mapped",
            ("prompt_id",),
            (
                _ID,
                Column("n_answers", "int", "usable answers mapped", low=1),
                Column("n_distinct", "int", "distinct among them: the points that have a density", low=1),
                Column("n_repeated_texts", "int", "texts given as often as the smallest mode has answers", low=0),
                _share("repeated_share", "answers with such a text"),
                Column("n_modes", "int", "modes the pipeline finds", low=0),
                Column("n_supported", "int", "modes the evidence supports", low=0),
                _share("dominant_share", "share of the largest mode; empty without modes", nullable=True),
                Column("effective_modes", "float", "exp entropy of the shares of modes, noise left out", nullable=True),
                _share("noise_share", "answers outside of every mode"),
                _share("explained_1", "variance on the first principal component"),
                _share("explained_2", "variance on the second"),
                Column("separation", "float", "mean silhouette of all distinct answers, noise 0", low=-1, high=1),
                Column("null_bound", "float", "what one more Gaussian would exceed with probability 2.5 %"),
                Column(
                    "null_modes_mean", "float", "modes the pipeline finds in Gaussians of equal covariance, mean", low=0
                ),
                Column("null_modes_min", "int", "fewest", low=0),
                Column("null_modes_max", "int", "most", low=0),
                _share("null_noise_share", "noise there"),
                Column("n_lexical_modes", "int", "modes that words alone make", low=0),
                *(
                    Column(
                        f"ari_{name}{suffix}",
                        "float",
                        f"adjusted Rand index, {what}{how}",
                        nullable=True,
                        low=-1,
                        high=1,
                    )
                    for name, what in (
                        ("seeds", "other seeds"),
                        ("subsamples", "random parts of the answers"),
                        ("lexical", "words only"),
                    )
                    for suffix, how in (("", ", noise as singletons"), ("_without_noise", ", noise left out"))
                ),
            ),
        ),
        Table(
            "07_ideas",
            "an idea label of an answer, from one of three doors",
            ("response_id", "origin"),
            (
                Column("response_id", "str", "the answer"),
                Column("idea", "str", "label of the idea"),
                Column(
                    "origin",
                    "str",
                    "came with the data; a language model's; mode of a lexical encoder (null biased low)",
                    allowed=("given", "judge", "lexical"),
                ),
                Column("scope", "str", "ideas compare only between answers of equal scope"),
            ),
        ),
        Table(
            "07_agreement",
            "how far one labelling agrees with another, by one measure, mean over scopes",
            ("labels", "reference", "measure"),
            (
                Column("labels", "str", "modes, lexical or judge"),
                Column("reference", "str", "given or judge"),
                Column(
                    "measure",
                    "str",
                    "adjusted Rand index (noise as singletons, or left out), pairs, or AUC of the cosine",
                ),
                Column("mean", "float", "mean over scopes"),
                Column("lower", "float", "lower 95 % bound, prompts resampled", nullable=True),
                Column("upper", "float", "upper 95 % bound, prompts resampled", nullable=True),
                Column("n_scopes", "int", "scopes with a value", low=1),
                Column("n_single", "int", "scopes with a single class in the reference, apart", low=0),
                Column("n_prompts", "int", "prompts resampled", low=1),
            ),
        ),
        Table(
            "07_dominance",
            "an arm: how much of it its commonest idea takes, at equal numbers of answers",
            ("ideas", "arm"),
            (
                Column("ideas", "str", "modes, or the origin of the idea labels"),
                Column("arm", "str", "model, with its condition where there are several"),
                Column("kind", "str", "model or people", allowed=("model", "people")),
                Column("n", "int", "answers drawn of every cell", low=1),
                Column("n_prompts", "int", "prompts with so many", low=1),
                _share("dominant_share", "mean over prompts"),
                _share("lower", "lower 95 % bound, prompts resampled", nullable=True),
                _share("upper", "upper 95 % bound, prompts resampled", nullable=True),
            ),
        ),
        Table(
            "07_floors",
            "a kind of pair of answers, and a threshold",
            ("kind", "ideas", "threshold"),
            (
                Column("kind", "str", "kind of pair; models unless it says people"),
                Column("ideas", "str", "origin of the idea labels; `none` where they play no part"),
                _cosine("threshold", "the threshold"),
                Column("n_pairs", "int", "pairs, pooled over prompts", low=1),
                Column("n_prompts", "int", "prompts with such pairs", low=1),
                _share("share_above", "share of pairs at or above the threshold"),
                _share("lower", "lower 95 % bound, prompts resampled", nullable=True),
                _share("upper", "upper 95 % bound, prompts resampled", nullable=True),
                *(
                    _cosine(name, f"{what} of pairs")
                    for name, what in (
                        ("q05", "5 % quantile"),
                        ("q25", "quartile"),
                        ("median", "median"),
                        ("q75", "upper quartile"),
                        ("q95", "95 % quantile"),
                    )
                ),
            ),
        ),
        Table(
            "08_pairs", "one annotator's label of one pair; above 0: the first is better", ("item_id", "slot"), _LABEL
        ),
        Table(
            "08_items",
            "a rated response or pair",
            ("item_id",),
            (
                _ITEM,
                _ITEM_KIND,
                _ID,
                Column("prompt", "str", "text of the prompt", nullable=True),
                Column("response_1", "str", "the response, or the first of the pair", nullable=True),
                Column("response_2", "str", "the second of the pair", nullable=True),
                Column("response_1_id", "str", "hash of prompt and response", nullable=True),
                Column("response_2_id", "str", "the same of the second", nullable=True),
                Column("form_id", "str", "form the item stood on", nullable=True),
                Column("n", "int", "labels", low=1),
                _float("mean", "mean label; empty for categories"),
                _float("sd", "standard deviation of the labels (sample)", low=0),
                _float("entropy_bits", "entropy of the labels, plug-in, bits", low=0),
                _float("entropy_corrected_bits", "the same with the Miller-Madow correction", low=0),
                _float("entropy_normalised", "entropy / its maximum", low=0, high=1),
                _float("entropy_grouped_bits", "entropy of labels grouped {1,2}, {3}, {4,5}", low=0),
                _float("gini", "1 - sum of squared label shares", low=0, high=1),
                _float("pairwise_disagreement", "share of annotator pairs with different labels", low=0, high=1),
                _float("minority_share", "1 - share of the commonest label", low=0, high=1),
                _float(
                    "fleiss_agreement",
                    "Fleiss' agreement of the item: share of annotator pairs that agree",
                    low=0,
                    high=1,
                ),
                _float("consensus", "ordinal consensus of Tastle and Wierman", low=0, high=1),
                _float("valley_depth", "depth of the valley between two camps, in label shares", low=0, high=1),
                _float("valley_p", "binomial test of that valley", low=0, high=1),
                Column(
                    "disagreement",
                    "str",
                    "camps; contested without camps; the rest",
                    allowed=("split", "noisy", "agreed"),
                ),
                _float("n_ties", "labels that call a pair a tie", low=0),
                _float("agreement", "pairs: max(n+ + n0/2, n- + n0/2) / n", low=0.5, high=1),
            ),
        ),
        Table(
            "08_excluded",
            "a label that was not used",
            ("items", "input_row", "excerpt"),
            (
                _ITEM_KIND,
                Column("input_row", "int", "row of the input, from 0", low=0),
                Column("reason", "str", "why it was left out"),
                Column("excerpt", "str", "item, annotator and label, as JSON"),
            ),
        ),
        Table(
            "08_agreement",
            "a measure of agreement, over all items or within a prompt",
            ("items", "measure", "prompt_id"),
            (
                _ITEM_KIND,
                Column("measure", "str", "alpha_nominal, alpha_ordinal, alpha_interval, split_half, spearman_brown"),
                Column("prompt_id", "str", "the prompt; `all` for all items"),
                _float("value", "the measure", high=1),
                *_bounds(),
                Column("n_items", "int", "items", low=1),
            ),
        ),
        Table(
            "08_reliability",
            "(kind of items, k): the correlation of two groups of k annotators",
            ("items", "n_annotators"),
            (
                _ITEM_KIND,
                Column("n_annotators", "int", "k, annotators whose mean is taken", low=1),
                _float("reliability", "correlation of the means of two disjoint groups, mean over splits"),
                *_bounds("over splits"),
                _float("predicted", "Spearman-Brown from one annotator"),
            ),
        ),
        Table(
            "08_annotators",
            "a person whose identity is recoverable",
            ("items", "annotator"),
            (
                _ITEM_KIND,
                Column("annotator", "str", "id of the person"),
                _float("severity", "mean distance to others on the same items, units of the scale; below 0 is severe"),
                Column("n_labels", "int", "labels", low=1),
            ),
        ),
        Table(
            "09_scores",
            "one scorer's score of one rated item; of a pair, first minus second",
            ("item_id", "scorer"),
            (
                _ITEM,
                _SCORER,
                _SCORER_KIND,
                Column("door", "str", "how the score came: import, judge, transformers, completions, text"),
                Column("score", "float", "the score, in the scorer's own unit"),
                Column("distribution", "str", "shares of the scale's values, JSON, where there are any", nullable=True),
            ),
        ),
        Table(
            "09_excluded",
            "a score that was not used, or is missing",
            ("scorer", "item_id", "reason"),
            (
                _SCORER,
                Column("item_id", "str", "the item, or what stood in its place"),
                Column("reason", "str", "why"),
            ),
        ),
        Table(
            "09_calibration",
            "(kind of items, scorer, subset rule)",
            ("items", "scorer", "rule"),
            (
                _ITEM_KIND,
                _SCORER,
                _SCORER_KIND,
                _RULE,
                _RULE_FAMILY,
                Column("n", "int", "items of the subset the scorer has", low=0),
                _float("rho", "Spearman correlation with the human mean, items pooled", -1, 1),
                *_bounds(_REDONE),
                _float("pearson", "Pearson correlation", -1, 1),
                _float("within", "Spearman correlation within prompts, mean", -1, 1),
                *_bounds(prefix="within_"),
                *_NULL,
            ),
        ),
        Table(
            "09_kinds",
            "(kind of items, kind of scorer, subset rule): the unweighted mean over scorers",
            ("items", "kind", "rule"),
            (
                _ITEM_KIND,
                _SCORER_KIND,
                _RULE,
                _RULE_FAMILY,
                Column("n", "int", "items of the subset", low=0),
                Column("n_scorers", "int", "scorers averaged", low=1),
                _float("rho", "mean of their Spearman correlations", -1, 1),
                *_bounds(_REDONE),
                _float("within", "mean of their correlations within prompts", -1, 1),
                _float("se", "jackknife standard error of rho", 0),
                Column("n_prompts", "int", "prompts of its items", low=0),
                *_NULL,
                _float("crossed", "items chosen by one half of the annotators, compared with the other", -1, 1),
                _float("half_panel", "items chosen by and compared with the same half", -1, 1),
                _float("people", "the other half's mean as if it were a scorer: the human ceiling", -1, 1),
                _float("published", "the paper's value", -1, 1),
            ),
        ),
        Table(
            "09_verdicts",
            "the verdict on a scorer, or on the mean of a kind",
            ("items", "level", "scorer"),
            (
                _ITEM_KIND,
                Column("level", "str", "one scorer, or the mean over a kind", allowed=("kind", "scorer")),
                _SCORER,
                _SCORER_KIND,
                Column("n", "int", "most contested items it scored", low=0),
                Column("share", "float", "share of the items that are most contested", low=0, high=1),
                Column("effective_size", "float", "effective number of items at equal human means", low=0),
                Column("n_prompts", "int", "prompts of its items", low=0),
                _float("rho_full", "Spearman correlation over all items; pairs in both orders", -1, 1),
                _float("rho_contested", "the same on the most contested items", -1, 1),
                _float("r", "correlation on the most contested items, at equal human means", -1, 1),
                _float("e", "correlation on the rest, at equal human means", -1, 1),
                _float("kept", "share of the correlation that is kept: r / e"),
                *_bounds("Fieller, jackknife over prompts; empty where unbounded"),
                _float("p_degrades", "that it keeps less than 90 %: one-sided p-value, Holm-adjusted", 0, 1),
                _float("p_holds_up", "that it keeps more than half: one-sided p-value, Holm-adjusted", 0, 1),
                _float("expected", "rho_contested of a scorer that loses nothing", -1, 1),
                _float("null_lower", "lower edge of the range-restriction null; below it: degrades", -1, 1),
                _float("null_upper", "upper edge of the range-restriction null", -1, 1),
                Column(
                    "verdict",
                    "str",
                    "whether it loses touch where people differ",
                    allowed=(
                        "degrades",
                        "degrades, keeps more than half",
                        "holds up",
                        "inconclusive",
                        "not testable",
                    ),
                ),
                Column("reason", "str", "why it is not testable; empty where it is"),
            ),
        ),
        Table(
            "09_soft",
            "(scorer, measure): its distribution, or its order of pairs, against people's",
            ("items", "scorer", "measure"),
            (
                _ITEM_KIND,
                _SCORER,
                _SCORER_KIND,
                Column("measure", "str", "what is measured"),
                _float("value", "mean over items"),
                *_bounds(),
                Column("n", "int", "items", low=0),
            ),
        ),
        Table(
            "09_pluralism",
            "how much a scorer prefers typical responses at equal human means",
            ("scorer",),
            (
                _SCORER,
                _SCORER_KIND,
                _float("coefficient", "score on typicality at equal human mean and length, standard deviations"),
                *_bounds("jackknife over prompts"),
                Column("n", "int", "items", low=0),
            ),
        ),
    )
}


def validate(frame, name):
    """Check a frame against its schema and return it as an Arrow table with the schema's column order.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per thing that `name` describes.
    name : str
        Name of the table, a key of `TABLES`.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    ValueError
        If columns are missing or unknown, a type does not fit, a value is null, out of range or not permitted, or two
        rows have the same key. The message names the column and the first offending row.
    """
    import pyarrow as pa

    table = schema_of(name)
    expected = [column.name for column in table.columns]
    missing = [column for column in expected if column not in frame.columns]
    unknown = [column for column in frame.columns if column not in expected]
    if missing or unknown:
        raise ValueError(f"Table {name} must have the columns {expected}; missing: {missing}, unknown: {unknown}.")
    twice = [column for column in expected if list(frame.columns).count(column) > 1]
    if twice:
        raise ValueError(f"Table {name} must have every column once; twice: {twice}.")
    arrays = []
    for column in table.columns:
        values = frame[column.name]
        problem = _problem(values, column)
        if problem is not None:
            where, why = problem
            raise ValueError(f"Table {name}, column `{column.name}`, row {where}: {why}, but {values[where]!r} came.")
        try:
            arrays.append(pa.array(values, type=arrow_type(column), from_pandas=True))
        except (pa.ArrowException, TypeError, OverflowError, UnicodeEncodeError) as error:
            row = _first_unfit(values, column)
            raise ValueError(
                f"Table {name}, column `{column.name}`, row {row}: expected {column.type}, but {values[row]!r} came."
            ) from error
    doubled = frame.duplicated(list(table.key))
    if doubled.any():
        row = frame.loc[doubled.idxmax(), list(table.key)].to_dict()
        raise ValueError(f"Table {name} must have one row per {table.key}, but {int(doubled.sum())} repeat: {row}.")
    nullable = {column.name: column.nullable for column in table.columns}
    schema = pa.schema([pa.field(n, a.type, nullable=nullable[n]) for n, a in zip(expected, arrays, strict=True)])
    return pa.Table.from_arrays(arrays, schema=schema)


def schema_of(name):
    """Schema of a table by its name."""
    if name not in TABLES:
        raise ValueError(f"There is no table {name!r}; the tables are {sorted(TABLES)}.")
    return TABLES[name]


def arrow_type(column):
    """Type of a column in Arrow."""
    import pyarrow as pa

    return {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}[column.type]


def _problem(values, column):
    """First offending index label and what was expected there, or None."""
    import pandas as pd

    null = values.isna()
    if null.any() and not column.nullable:
        return null.idxmax(), "expected a value"
    present = values[~null]
    if column.allowed:
        bad = ~present.isin(column.allowed)
        if bad.any():
            return bad.idxmax(), f"expected one of {list(column.allowed)}"
    if column.low is None and column.high is None:
        return None
    if not pd.api.types.is_numeric_dtype(present):
        numbers = pd.to_numeric(present, errors="coerce")
        if numbers.isna().any():
            return numbers.isna().idxmax(), "expected a number"
        present = numbers
    slack = 1e-6  # a cosine of two equal float32 vectors may exceed 1 by rounding
    if column.low is not None and (present < column.low - slack).any():
        return (present < column.low - slack).idxmax(), f"expected at least {column.low}"
    if column.high is not None and (present > column.high + slack).any():
        return (present > column.high + slack).idxmax(), f"expected at most {column.high}"
    return None


def _first_unfit(values, column):
    """Index label of the first value that does not fit the column's type."""
    import pyarrow as pa

    for i in range(len(values)):
        try:
            pa.array(values.iloc[i : i + 1], type=arrow_type(column), from_pandas=True)
        except (pa.ArrowException, TypeError, OverflowError, UnicodeEncodeError):
            return values.index[i]
    return values.index[0]
