"""What is asked of a model."""

#: Tokens that must be the same from the start, for each of the prompts.
AGREEING_TOKENS = 8


PROMPTS = (
    "The machine reads the file and then", "A list of numbers is sorted by", "def main(",
    "The license of this program says that", "When the network is down, the client",
    "Each process has", "import os", "The first line of the text",
)  # fmt: skip


#: Questions with one right beginning of the answer, after examples of the form.
EXAMPLES = "Q: How many legs does a dog have?\nA: 4\n\nQ: Which planet do we live on?\nA: Earth\n\n"
QUESTIONS = (
    ("What is the capital of France?", "paris"),
    ("What is 2 + 3?", "5"),
    ("What is the opposite of hot?", "cold"),
    ("Which day comes after Monday?", "tuesday"),
    ("What color is the sky on a clear day?", "blue"),
    ("Which letter comes after A, B, C, D?", "e"),
    ("How many days are in a week?", "7|seven"),
    ("What is the capital of Japan?", "tokyo"),
    ("What is frozen water called?", "ice"),
    ("How many minutes are in an hour?", "60|sixty"),
)
